/* SPDX-License-Identifier: BSD-2-Clause */
/* One branch of a request being placed: the request as this hop gets it, and its answers. */
#include "sip/proxy_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utlist.h>

enum { VIA_OCTETS = 256 };

static void on_timer_c(struct timer *timer, void *userdata);

int branch_add(struct sip_proxy *proxy, const char *uri, const struct sip_hop *hops, size_t count, int q) {
	if (proxy->branch_count == SIP_FORKS) /* S-8-01 */
		return -ENOBUFS;
	for (const struct branch *other = proxy->branches; other; other = other->next_branch)
		if (strcmp(other->uri, uri) == 0 && address_equal(&other->hop.address, &hops->address))
			return -EEXIST;
	struct branch *branch = calloc(1, sizeof(*branch));
	struct sip_hop *others = count > 1 ? calloc(count - 1, sizeof(*others)) : NULL;
	char *text = strdup(uri);
	if (!branch || !text || (count > 1 && !others)) {
		free(branch);
		free(others);
		free(text);
		return -ENOMEM;
	}
	for (size_t i = 1; i < count; i++)
		others[i - 1] = hops[i];
	*branch = (struct branch){.proxy = proxy,
				  .uri = text,
				  .hop = *hops,
				  .others = others,
				  .other_count = count - 1,
				  .q = q,
				  .trunk = proxy->trunk};
	timer_init(&branch->timer, on_timer_c, branch);
	DL_APPEND2(proxy->branches, branch, previous, next_branch);
	proxy->branch_count++;
	return 0;
}

/* Somebody of whom we know no more than what stands in the overlay (RFC 7904 8.2.2). */
static bool is_retargeted(const struct branch *branch) {
	return branch->proxy->aor && !branch->registered && !branch->gateway;
}

static void wait_no_more(struct branch *branch, bool silent) {
	if (branch->waited)
		sip_retarget_release(branch->proxy->gateway, &branch->hop.address, silent);
	branch->waited = false;
}

struct branch *branch_free(struct branch *branch) {
	if (!branch)
		return NULL;
	struct sip_proxy *proxy = branch->proxy;
	wait_no_more(branch, false);
	if (branch->client)
		sip_client_leave(branch->client);
	timer_disarm(proxy->gateway->runtime, &branch->timer);
	DL_DELETE2(proxy->branches, branch, previous, next_branch);
	proxy->branch_count--;
	proxy->held -= branch->response.length;
	proxy->gateway->proxy_octets -= branch->response.length;
	free((void *)branch->response.data);
	free(branch->others);
	free(branch->authorization);
	free(branch->uri);
	free((void *)branch->routes);
	free((void *)branch->instance);
	free(branch);
	return NULL;
}

/* Nobody answered on this way: there may be another one to the same device (RFC 5626 7, RFC 5627 6.1). */
static void use_spare(const struct branch *branch) {
	struct branch *found = NULL;

	for (struct branch *other = branch->proxy->branches; other; other = other->next_branch)
		if (branch->instance && other->state == BRANCH_SPARE && strcasecmp(other->instance, branch->instance) == 0)
			found = other; /* the one renewed last */
	if (found)
		found->state = BRANCH_WAITING;
}

static void finish(struct branch *branch, unsigned status) {
	branch->state = BRANCH_DONE;
	branch->status = status;
	if (status == 408 || status == 480 || status == 503)
		if (branch->response.length == 0)
			use_spare(branch);
	timer_disarm(branch->proxy->gateway->runtime, &branch->timer);
	/* A trunk that does not work, not one that has an answer. */
	if (branch->trunk && (status == 503 || (branch->response.length == 0 && !branch->heard)) &&
	    branch->trunk == branch->proxy->trunk)
		place_next_trunk(branch->proxy);
	proxy_finished(branch);
}

/* --- answers --- */

/* Without memory for it, the answer counts by its status alone. */
static void keep_response(struct branch *branch, const struct sip_frame *frame) {
	struct sip_gateway *gateway = branch->proxy->gateway;
	uint8_t *copy = gateway->proxy_octets + frame->length <= SIP_PROXY_OCTETS ? malloc(frame->length) : NULL;

	if (!copy)
		return;
	memcpy(copy, frame->header.data, frame->length);
	branch->response = OCTETS(copy, frame->length);
	branch->proxy->held += frame->length;
	gateway->proxy_octets += frame->length;
}

static void arm_timer_c(struct branch *branch) {
	if (branch->proxy->invite)
		timer_arm_after(branch->proxy->gateway->runtime, &branch->timer, SIP_CALL_SECONDS * USEC_PER_SEC);
}

static void on_timer_c(struct timer *timer, void *userdata) {
	struct branch *branch = userdata;

	(void)timer;
	branch_cancel(branch); /* RFC 3261 16.8; before a provisional answer timer B has ended it */
}

/* TCP was not the phone's own wish, and did not work: UDP after all. */
static bool fall_back(struct branch *branch) {
	if (!branch->hop.fallback || branch->cancel || !branch->proxy->transaction || branch->proxy->answered)
		return false;
	branch->hop.fallback = false;
	branch->hop.transport = SIP_UDP;
	branch->state = BRANCH_WAITING;
	timer_disarm(branch->proxy->gateway->runtime, &branch->timer);
	branch_start(branch);
	return true;
}

/* The next server of the same name (RFC 3263 4.3). False when there is none, or nobody waits for it. */
static bool try_next(struct branch *branch) { /* once for each server: NOLINT(misc-no-recursion) */
	const struct sip_proxy *proxy = branch->proxy;

	if (branch->others_tried == branch->other_count || branch->cancel || !proxy->transaction || proxy->answered ||
	    proxy->cancelled || proxy->refused)
		return false;
	branch->hop = branch->others[branch->others_tried++];
	branch->tried = branch->heard = false;
	branch->state = BRANCH_WAITING;
	timer_disarm(proxy->gateway->runtime, &branch->timer);
	branch_start(branch);
	return true;
}

/* The trunk asks who we are, and we know (RFC 3261 22.3). Once: a second question means that it does not believe us. */
static bool authorize(struct branch *branch, const struct sip_frame *frame) {
	struct writer w = writer_growing(SIP_LINE_OCTETS);
	struct sip_proxy *proxy = branch->proxy;
	struct sip_frame request;
	char method[32];
	size_t length = 0;

	if (!branch->trunk || branch->authorization || branch->cancel || !proxy->transaction || proxy->answered ||
	    sip_frame_find(proxy->request, false, &request) < 0)
		return false;
	snprintf(method, sizeof(method), "%.*s", (int)request.method.length, (const char *)request.method.data);
	int error = sip_trunk_authorize(branch->trunk, frame, method, branch->uri, &w);
	writer_u8(&w, 0);
	if (error == 0)
		error = writer_finish(&w);
	if (error == 0)
		branch->authorization = (char *)writer_take(&w, &length);
	writer_release(&w);
	if (error < 0)
		return false;
	branch->state = BRANCH_WAITING;
	branch->heard = false;
	branch->again = true;
	proxy_raise(proxy);
	branch_start(branch);
	return true;
}

static void on_answer(void *userdata, struct sip_client *client, const struct sip_frame *frame, unsigned status) {
	struct branch *branch = userdata;
	struct sip_proxy *proxy = branch->proxy;

	wait_no_more(branch, !frame && status == 408);
	if (!frame) {
		branch->client = NULL;
		sip_client_leave(client);
		if (branch->state != BRANCH_ACTIVE)
			proxy_release(proxy); /* repeated 2xx are over */
		else if (!fall_back(branch) && (branch->heard || !try_next(branch)))
			finish(branch, status);
		return;
	}
	branch->hop.fallback = false;
	if (status < 200) {
		branch->heard = true;
		arm_timer_c(branch);
		if (branch->cancel)
			sip_client_cancel(client);
		if (status > 100)
			proxy_provisional(branch, frame);
		return;
	}
	timer_disarm(proxy->gateway->runtime, &branch->timer);
	if (status >= 300 || !proxy->invite) {
		branch->client = NULL;
		sip_client_leave(client);
	}
	if (status < 300) {
		branch->state = BRANCH_DONE;
		branch->status = status;
		proxy_accepted(branch, frame);
		return;
	}
	if ((status == 503 && try_next(branch)) || ((status == 401 || status == 407) && authorize(branch, frame)))
		return;
	if (status == 430 && branch->registered) {
		/* Between us and the proxy next to the phone; nobody else knows what to do with it (RFC 5626 11.5). */
		sip_binding_failed(proxy->gateway, proxy->aor, branch->uri);
		finish(branch, 480);
		return;
	}
	keep_response(branch, frame);
	finish(branch, status);
}

/* --- the request --- */

/* All branches together may fork into as many as the request was allowed (RFC 5393 5.3.3). */
static unsigned share_of_breadth(const struct sip_proxy *proxy) {
	unsigned share = proxy->breadth / (unsigned)(proxy->call ? SIP_FORKS : proxy->branch_count);

	return share > 0 ? share : 1;
}

/* Of what begins a dialog a trunk that may ask for a password gets other numbers, and all that belongs to it follows. */
static enum sip_numbering numbering_of(const struct branch *branch) {
	const struct sip_proxy *proxy = branch->proxy;

	if (proxy->dialog)
		return proxy->numbering;
	return branch->trunk && sip_trunk_has_password(branch->trunk) ? SIP_NUMBERS_EVEN : SIP_NUMBERS_SAME;
}

/* The phone that a trunk calls may send something in that dialog, too. */
static enum sip_numbering numbering_back(const struct sip_proxy *proxy) {
	const struct sip_trunk *trunk = sip_trunk_at(proxy->gateway, &proxy->flow.remote);

	return trunk && sip_trunk_has_password(trunk) ? SIP_NUMBERS_EVEN : SIP_NUMBERS_SAME;
}

static void write_request(const struct branch *branch, const struct sip_flow *flow, uint64_t id, struct writer *w) {
	const struct sip_proxy *proxy = branch->proxy;
	struct sip_gateway *gateway = proxy->gateway;
	char sent_by[ADDRESS_TEXT_SIZE], via[VIA_OCTETS], record_route[SIP_RECORD_ROUTE_SIZE] = "";
	struct sip_frame frame;

	if (sip_frame_find(proxy->request, false, &frame) < 0) {
		writer_fail(w, -EBADMSG);
		return;
	}
	enum sip_numbering numbering = numbering_of(branch);
	bool begun_by_repetition = branch->again && !proxy->dialog && numbering == SIP_NUMBERS_EVEN;
	snprintf(via, sizeof(via), "Via: SIP/2.0/%s %s;branch=z9hG4bK%016" PRIx64 ".%016" PRIx64 ";rport\r\n",
		 sip_transport_name(flow->transport), sip_flow_sent_by(gateway, flow, sent_by), id, proxy->loop_hash);
	if (proxy->recorded)
		sip_record_route_write(gateway, frame.field[SIP_FIELD_CALL_ID],
				       (struct sip_recorded){&proxy->flow, numbering_back(proxy)},
				       (struct sip_recorded){flow, begun_by_repetition ? SIP_NUMBERS_ODD : numbering},
				       proxy->secure, record_route);
	const char *routes = branch->routes ? branch->routes : proxy->routes ? proxy->routes : "";
	struct writer lines = writer_growing(2 * SIP_HEADER_OCTETS);
	char caller[SIP_CONTACT_OCTETS];
	writer_octets(&lines, octets_of_string(routes));
	if (branch->trunk && proxy->number[0])
		writer_octets(&lines, octets_of_string(sip_trunk_caller(branch->trunk, caller)));
	writer_octets(&lines, octets_of_string(branch->authorization ? branch->authorization : ""));
	if (proxy->registrar) {
		sip_path_write(gateway, &proxy->flow, flow, proxy->direct, record_route);
		writer_octets(&lines, octets_of_string(record_route));
		record_route[0] = 0;
	}
	writer_u8(&lines, 0);
	struct reader r = reader_of_octets(proxy->transaction->echo);
	const struct sip_forward forward = {
		.gateway = gateway,
		.frame = &frame,
		.uri = branch->uri,
		.via = via,
		.vias = reader_octets(&r, proxy->transaction->via_length),
		.record_route = record_route,
		.routes = writer_finish(&lines) == 0 ? (const char *)lines.data : routes,
		.max_forwards = proxy->max_forwards,
		.breadth = share_of_breadth(proxy),
		.numbering = numbering,
		.again = branch->again,
		/* A trunk is told our number, and who called whom within a site is not its business. */
		.identity = proxy->vouched && !branch->trunk && (branch->gateway || !sip_frame_private(&frame)),
	};
	sip_forward_write(&forward, w);
	writer_release(&lines);
}

static int send_request(struct branch *branch) {
	struct sip_gateway *gateway = branch->proxy->gateway;
	struct writer w = writer_growing(LIMIT_SIP_MESSAGE);
	struct sip_client_key key = {0};
	struct sip_flow flow;
	size_t length = 0;

	while (key.id == 0)
		runtime_random(gateway->runtime, &key.id, sizeof(key.id));
	int error = sip_hop_open(gateway, &branch->hop, &flow);
	if (error == 0) {
		write_request(branch, &flow, key.id, &w);
		error = writer_finish(&w);
	}
	const uint8_t *data = error == 0 ? writer_take(&w, &length) : NULL;
	writer_release(&w);
	return error < 0 ? error : sip_client_new(gateway, key, &flow, OCTETS(data, length), &branch->client);
}

/* What is too long for a datagram goes over TCP, when the phone did not ask for anything else (RFC 3261 18.1.1). */
static void choose_tcp(struct branch *branch) {
	const size_t added = VIA_OCTETS / 2 + (branch->proxy->recorded ? 256 : 0);

	if (branch->hop.transport != SIP_UDP || branch->proxy->request.length + added <= SIP_UDP_OCTETS)
		return;
	branch->hop.transport = SIP_TCP;
	branch->hop.fallback = true;
}

void branch_start(struct branch *branch) { /* as above: NOLINT(misc-no-recursion) */
	branch->state = BRANCH_ACTIVE;
	branch->proxy->gateway->figures.forks++;
	if (!branch->tried)
		choose_tcp(branch);
	branch->tried = true;
	if (is_retargeted(branch) && !sip_retarget_take(branch->proxy->gateway, &branch->hop.address)) {
		finish(branch, 480);
		return;
	}
	branch->waited = is_retargeted(branch);
	int error = send_request(branch);
	if (error < 0 && branch->hop.fallback) {
		branch->hop.fallback = false;
		branch->hop.transport = SIP_UDP;
		error = send_request(branch);
	}
	if (error < 0)
		wait_no_more(branch, false);
	if (error < 0 && error != -ENOBUFS && error != -ENOMEM && try_next(branch))
		return;
	if (error < 0) {
		/* At our bounds, the connection broke (RFC 3261 16.9), or there is no way to that phone. */
		finish(branch, error == -ENOBUFS || error == -ENOMEM || error == -EPIPE ? 503 : 480);
		return;
	}
	branch->proxy->numbered = branch->proxy->numbered || numbering_of(branch) != SIP_NUMBERS_SAME;
	branch->client->answered = on_answer;
	branch->client->userdata = branch;
	if (branch->hop.fallback || branch->others_tried < branch->other_count || place_has_next_trunk(branch->proxy))
		sip_client_hurry(branch->client, SIP_HURRY_SECONDS);
	else if (branch->proxy->registrar)
		sip_client_hurry(branch->client, SIP_REGISTRAR_SECONDS);
	arm_timer_c(branch);
}

void branch_cancel(struct branch *branch) {
	if (branch->state == BRANCH_WAITING) {
		branch->state = BRANCH_DONE;
		branch->status = 487;
	} else if (branch->state == BRANCH_ACTIVE && branch->proxy->invite) {
		branch->cancel = true;
		if (branch->client)
			sip_client_cancel(branch->client);
	}
}
