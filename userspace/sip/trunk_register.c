/* SPDX-License-Identifier: BSD-2-Clause */
/* The gateway registers with a trunk, as a phone does (RFC 3261 10.2), so that the trunk knows where to send its calls. */
#include "base/log.h"
#include "sip/trunk_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void begin(struct timer *timer, void *userdata);

void trunk_register_init(struct sip_trunk *trunk) {
	timer_init(&trunk->timer, begin, trunk);
	runtime_random(trunk->gateway->runtime, &trunk->call_id, sizeof(trunk->call_id));
	trunk->cseq = 1;
	timer_arm(trunk->gateway->runtime, &trunk->timer, trunk->gateway->runtime->now_us);
}

void trunk_register_end(struct sip_trunk *trunk) {
	timer_disarm(trunk->gateway->runtime, &trunk->timer);
	trunk->locate = sip_locate_free(trunk->locate);
	if (trunk->client)
		sip_client_leave(trunk->client);
	trunk->client = NULL;
}

unsigned sip_trunk_registered(const struct sip_trunk *trunk) {
	uint64_t now_us = trunk->gateway->runtime->now_us;

	return trunk->until_us > now_us ? (unsigned)((trunk->until_us - now_us) / USEC_PER_SEC) : 0;
}

static void retry_later(struct sip_trunk *trunk, const char *what) {
	if (!trunk->failing)
		log_warning("The trunk %s cannot be %s: %s. It is tried every %d seconds.", trunk->name,
			    trunk->registers ? "registered with" : "found", what, SIP_TRUNK_RETRY_SECONDS);
	trunk->failing = true;
	snprintf(trunk->error, sizeof(trunk->error), "%s", what);
	timer_arm_after(trunk->gateway->runtime, &trunk->timer, SIP_TRUNK_RETRY_SECONDS * USEC_PER_SEC);
}

/* --- the request --- */

static void write_register(struct sip_trunk *trunk, uint64_t id, const char *uri, struct octets authorization, struct writer *w) {
	struct sip_gateway *gateway = trunk->gateway;
	char sent_by[ADDRESS_TEXT_SIZE];
	const char *transport = sip_transport_name(trunk->flow.transport);

	sip_flow_sent_by(gateway, &trunk->flow, sent_by);
	writer_format(w, "REGISTER %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%016" PRIx64 ".%016x;rport\r\n", uri, transport,
		      sent_by, id, 0);
	writer_format(w,
		      "Max-Forwards: 70\r\nFrom: <sip:%s@%s>;tag=%016" PRIx64 "\r\nTo: <sip:%s@%s>\r\nCall-ID: %016" PRIx64 "\r\n"
		      "CSeq: %" PRIu32 " REGISTER\r\n",
		      trunk->user, trunk->server->host, trunk->call_id ^ 1, trunk->user, trunk->server->host, trunk->call_id,
		      trunk->cseq++);
	writer_format(w, "Contact: <sip:%s@%s%s>\r\nExpires: %d\r\n", trunk->user, sent_by,
		      trunk->flow.transport == SIP_TLS	 ? ";transport=tls"
		      : trunk->flow.transport == SIP_TCP ? ";transport=tcp"
							 : "",
		      SIP_TRUNK_EXPIRES_SECONDS);
	writer_octets(w, authorization);
	writer_octets(w, octets_of_string("Content-Length: 0\r\n\r\n"));
}

/* "sip:sip.example.com": the registrar's domain, without what says how to get there. */
static void write_uri(const struct sip_trunk *trunk, char *text, size_t size) {
	bool ipv6 = strchr(trunk->server->host, ':') != NULL;

	snprintf(text, size, "%s:%s%s%s", trunk->server->scheme, ipv6 ? "[" : "", trunk->server->host, ipv6 ? "]" : "");
}

static void on_answer(void *userdata, struct sip_client *client, const struct sip_frame *frame, unsigned status);

static int ask(struct sip_trunk *trunk, const struct sip_frame *challenge) {
	struct sip_gateway *gateway = trunk->gateway;
	struct writer w = writer_growing(SIP_HEADER_OCTETS), authorization = writer_growing(SIP_LINE_OCTETS);
	struct sip_client_key key = {0};
	char uri[DNS_NAME_SIZE + 16];
	size_t length = 0;

	while (key.id == 0)
		runtime_random(gateway->runtime, &key.id, sizeof(key.id));
	write_uri(trunk, uri, sizeof(uri));
	int error = challenge ? sip_trunk_authorize(trunk, challenge, "REGISTER", uri, &authorization)
			      : sip_hop_open(gateway, &trunk->hops[trunk->hop_tried], &trunk->flow);
	if (error == 0) {
		write_register(trunk, key.id, uri, writer_octets_written(&authorization), &w);
		error = writer_finish(&w);
	}
	const uint8_t *data = error == 0 ? writer_take(&w, &length) : NULL;
	writer_release(&w);
	writer_release(&authorization);
	if (error == 0)
		error = sip_client_new(gateway, key, &trunk->flow, OCTETS(data, length), &trunk->client);
	if (error < 0)
		return error;
	trunk->client->answered = on_answer;
	trunk->client->userdata = trunk;
	sip_client_hurry(trunk->client, SIP_HURRY_SECONDS);
	return 0;
}

static void ask_next(struct sip_trunk *trunk) {
	int error = -EHOSTUNREACH;

	for (; trunk->hop_tried < trunk->hop_count; trunk->hop_tried++) {
		error = ask(trunk, NULL);
		if (error == 0)
			return;
	}
	retry_later(trunk, error == -EHOSTUNREACH ? "no server answers" : strerror(-error));
}

/* --- the answer --- */

static unsigned expires_of(const struct sip_frame *frame) {
	struct octets contact = frame->field[SIP_FIELD_CONTACT];
	const uint8_t *found = contact.length > 0 ? memmem(contact.data, contact.length, ";expires=", 9) : NULL;
	uint32_t seconds = SIP_TRUNK_EXPIRES_SECONDS;

	if (found) {
		struct reader r = reader_of_octets(contact);
		reader_octets(&r, (size_t)(found - contact.data) + 9);
		struct octets rest = reader_rest(&r);
		size_t digits = 0;
		while (digits < rest.length && rest.data[digits] >= '0' && rest.data[digits] <= '9')
			digits++;
		sip_number_parse(OCTETS(rest.data, digits), &seconds);
	} else if (frame->field[SIP_FIELD_EXPIRES].length > 0) {
		sip_number_parse(frame->field[SIP_FIELD_EXPIRES], &seconds);
	}
	return seconds < 30 ? 30 : seconds > 86400 ? 86400 : seconds;
}

static void on_answer(void *userdata, struct sip_client *client, const struct sip_frame *frame, unsigned status) {
	struct sip_trunk *trunk = userdata;
	char what[64];

	if (frame && status < 200)
		return;
	sip_client_leave(client);
	trunk->client = NULL;
	if (!frame || status == 503) {
		trunk->hop_tried++;
		ask_next(trunk);
		return;
	}
	if ((status == 401 || status == 407) && !trunk->authorized) {
		trunk->authorized = true;
		if (ask(trunk, frame) == 0)
			return;
	}
	if (status >= 300) {
		snprintf(what, sizeof(what), status == 401 || status == 407 ? "its password is refused" : "it answers %u", status);
		retry_later(trunk, what);
		return;
	}
	unsigned seconds = expires_of(frame);
	if (trunk->failing || trunk->until_us == 0)
		log_notice("Registered with the trunk %s for %u seconds.", trunk->name, seconds);
	trunk->failing = false;
	trunk->error[0] = 0;
	trunk->until_us = trunk->gateway->runtime->now_us + seconds * USEC_PER_SEC;
	timer_arm_after(trunk->gateway->runtime, &trunk->timer, seconds * USEC_PER_SEC * 3 / 4);
}

/* --- again and again --- */

/* Where its servers are is wanted in any case: calls come from there. */
static void use_hops(struct sip_trunk *trunk, const struct sip_hop *hops, size_t count) {
	trunk->hop_count = count < SIP_TARGETS ? count : SIP_TARGETS;
	trunk->hop_tried = 0;
	trunk->authorized = false;
	memcpy(trunk->hops, hops, trunk->hop_count * sizeof(hops[0]));
	sip_trunk_found(trunk, hops, trunk->hop_count);
	if (trunk->registers) {
		ask_next(trunk);
		return;
	}
	trunk->failing = false;
	trunk->error[0] = 0;
	timer_arm_after(trunk->gateway->runtime, &trunk->timer, SIP_TRUNK_EXPIRES_SECONDS * USEC_PER_SEC);
}

static void on_located(void *userdata, int error, const struct sip_hop *hops, size_t count) {
	struct sip_trunk *trunk = userdata;

	trunk->locate = NULL;
	if (error < 0)
		retry_later(trunk, "its name is not known");
	else
		use_hops(trunk, hops, count);
}

static void begin(struct timer *timer, void *userdata) {
	struct sip_trunk *trunk = userdata;
	struct sip_hop hop;

	(void)timer;
	int error = sip_hop_of_uri(trunk->server, &hop);
	if (error == 0)
		use_hops(trunk, &hop, 1);
	else if (error == -ENODATA)
		error = sip_locate(trunk->gateway, trunk->server, on_located, trunk, &trunk->locate);
	if (error < 0)
		retry_later(trunk, strerror(-error));
}
