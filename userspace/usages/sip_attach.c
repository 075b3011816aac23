/* SPDX-License-Identifier: BSD-2-Clause */
#include "usages/sip_attach.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "wire/method.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

enum { APPLICATIONS = 2 };

struct waiting {
	struct peer *peer;
	uint16_t application;
	sip_attach_done done;
	void *userdata;
	struct waiting *prev, *next;
};

/* What is known of the places of one application. */
struct offer {
	struct sip_place places[SIP_PLACES_MAX];
	size_t count;
	int error;	     /* why there is none */
	uint64_t expires_us; /* 0: nothing is known */
	struct transaction *transaction;
};

/* A gateway; the one heard of last is at the end of the list. */
struct peer {
	struct sip_attach *attach;
	struct id node_id;
	struct offer offers[APPLICATIONS];
	uint64_t allowed_until_us;
	struct waiting *waiting;
	struct timer answer; /* to those who asked for what was known already */
	bool busy;	     /* answering: must not go */
	struct peer *prev, *next;
};

struct sip_attach {
	struct router *router;
	struct sip_attach_settings settings;
	struct peer *peers;
	size_t peer_count, waiting_count;
};

static struct offer *offer_of(struct peer *peer, uint16_t application) {
	return &peer->offers[application == SIPS_APPLICATION];
}

/* ---- those who wait ---- */

static void answer(struct peer *peer, bool all) {
	struct sip_attach *attach = peer->attach;
	struct waiting *waiting, *next;

	peer->busy = true;
	DL_FOREACH_SAFE (peer->waiting, waiting, next) {
		struct offer *offer = offer_of(peer, waiting->application);
		if (!all && offer->transaction)
			continue;
		DL_DELETE(peer->waiting, waiting);
		attach->waiting_count--;
		int error = offer->transaction ? -ECANCELED : offer->error;
		waiting->done(waiting->userdata, error, offer->places, error == 0 ? offer->count : 0);
		free(waiting);
	}
	peer->busy = false;
}

static void answer_now(struct timer *timer, void *userdata) {
	(void)timer;
	answer(userdata, false);
}

/* ---- peers ---- */

static void peer_free(struct peer *peer) {
	for (size_t i = 0; i < APPLICATIONS; i++)
		transaction_cancel(peer->offers[i].transaction);
	timer_disarm(router_runtime(peer->attach->router), &peer->answer);
	answer(peer, true);
	DL_DELETE(peer->attach->peers, peer);
	peer->attach->peer_count--;
	free(peer);
}

static struct peer *peer_find(const struct sip_attach *attach, const struct id *node_id) {
	struct peer *peer;

	DL_FOREACH (attach->peers, peer)
		if (id_equal(&peer->node_id, node_id))
			return peer;
	return NULL;
}

/* The one longest unheard of that nobody waits for. */
static void make_room(struct sip_attach *attach) {
	struct peer *peer, *next;

	DL_FOREACH_SAFE (attach->peers, peer, next) {
		if (attach->peer_count < SIP_ATTACH_PEERS)
			return;
		if (!peer->waiting && !peer->busy)
			peer_free(peer);
	}
}

/* NULL: no memory, or all are waited for. */
static struct peer *peer_get(struct sip_attach *attach, const struct id *node_id) {
	struct peer *peer = peer_find(attach, node_id);

	if (peer) {
		DL_DELETE(attach->peers, peer);
		DL_APPEND(attach->peers, peer);
		return peer;
	}
	make_room(attach);
	peer = attach->peer_count < SIP_ATTACH_PEERS ? calloc(1, sizeof(*peer)) : NULL;
	if (!peer)
		return NULL;
	peer->attach = attach;
	peer->node_id = *node_id;
	timer_init(&peer->answer, answer_now, peer);
	DL_APPEND(attach->peers, peer);
	attach->peer_count++;
	return peer;
}

bool sip_attach_knows(const struct sip_attach *attach, const struct address *source) {
	uint64_t now_us = router_runtime(attach->router)->now_us;
	const struct peer *peer;

	DL_FOREACH (attach->peers, peer)
		for (size_t i = 0; i < APPLICATIONS && peer->allowed_until_us > now_us; i++)
			for (size_t j = 0; j < peer->offers[i].count; j++)
				if (address_same_host(&peer->offers[i].places[j].address, source))
					return true;
	return false;
}

/* ---- the body, the same in both directions ---- */

static int write_body(struct sip_attach *attach, uint16_t application, const char *role, struct writer *w) {
	struct sip_place places[SIP_PLACES_MAX];
	struct writer list = writer_growing(UINT16_MAX);
	size_t count = attach->settings.places(attach->settings.userdata, application, places, SIP_PLACES_MAX);

	for (size_t i = 0; i < count; i++) {
		char foundation[24];
		snprintf(foundation, sizeof(foundation), "%zu", i + 1);
		struct ice_candidate candidate = {
			.address = places[i].address,
			.overlay_link = places[i].stream ? LINK_TLS_TCP_FH_NO_ICE : LINK_DTLS_UDP_SR_NO_ICE,
			.foundation = octets_of_string(foundation),
			.priority = UINT32_C(126) << 24 | (uint32_t)(65535 - i) << 8 | 255, /* RFC 5245 4.1.2.1 */
			.type = CANDIDATE_HOST,
		};
		ice_candidate_write(&list, &candidate);
	}
	const struct attach_req_ans body = {
		.role = octets_of_string(role),
		.application = application,
		.candidates = writer_octets_written(&list),
	};
	int error = count == 0 ? -EADDRNOTAVAIL : writer_finish(&list);
	if (error == 0) {
		app_attach_write(w, &body);
		error = writer_finish(w);
	}
	writer_release(&list);
	return error;
}

/* May a stranger send us there? Not to groups, nor to our own host. */
static bool is_usable(const struct address *address) {
	static const uint8_t zero[15];

	if (address->port == 0)
		return false;
	if (address->family == AF_INET)
		return address->octets[0] != 0 && address->octets[0] != 127 && address->octets[0] < 224;
	if (address->family != AF_INET6 || address->octets[0] == 0xff ||
	    (address->octets[0] == 0xfe && (address->octets[1] & 0xc0) == 0x80))
		return false;
	return memcmp(address->octets, zero, sizeof(zero)) != 0; /* neither unspecified nor loopback */
}

static void read_places(struct octets candidates, struct offer *offer) {
	struct reader r = reader_of_octets(candidates);
	struct ice_candidate candidate;

	offer->count = 0;
	while (offer->count < SIP_PLACES_MAX && ice_candidate_next(&r, &candidate) == 1) {
		bool stream = candidate.overlay_link == LINK_TLS_TCP_FH_NO_ICE;
		if ((stream || candidate.overlay_link == LINK_DTLS_UDP_SR_NO_ICE) && candidate.type == CANDIDATE_HOST &&
		    is_usable(&candidate.address))
			offer->places[offer->count++] = (struct sip_place){.address = candidate.address, .stream = stream};
	}
}

static void learn(struct peer *peer, const struct attach_req_ans *body) {
	uint64_t now_us = router_runtime(peer->attach->router)->now_us;
	struct offer *offer = offer_of(peer, body->application);

	read_places(body->candidates, offer);
	offer->error = offer->count > 0 ? 0 : -EHOSTUNREACH;
	offer->expires_us = now_us + SIP_ATTACH_CACHE_SECONDS * USEC_PER_SEC;
	peer->allowed_until_us = now_us + SIP_ATTACH_ALLOWED_SECONDS * USEC_PER_SEC;
}

/* ---- asking ---- */

static int error_of(int error, const struct response *response) {
	if (error != -EREMOTEIO)
		return error == -ECANCELED ? error : -EHOSTUNREACH;
	return response->error.code == ERROR_NOT_FOUND ? -ENOENT : -EHOSTUNREACH;
}

static void on_response(void *userdata, uint16_t application, int error, const struct response *response) {
	struct peer *peer = userdata;
	struct offer *offer = offer_of(peer, application);
	struct attach_req_ans body;

	offer->transaction = NULL;
	/* S-5.1-02: the signer is the node that was asked, the router has seen to that. */
	if (error == 0 && (app_attach_read(response->body, &body) < 0 || body.application != application))
		error = -EHOSTUNREACH;
	else if (error < 0)
		error = error_of(error, response);
	if (error == 0) {
		learn(peer, &body);
	} else {
		offer->count = 0;
		offer->error = error;
		offer->expires_us = router_runtime(peer->attach->router)->now_us + SIP_ATTACH_FAILURE_SECONDS * USEC_PER_SEC;
	}
	answer(peer, false);
}

static void on_sip_response(void *userdata, int error, const struct response *response) {
	on_response(userdata, SIP_APPLICATION, error, response);
}

static void on_sips_response(void *userdata, int error, const struct response *response) {
	on_response(userdata, SIPS_APPLICATION, error, response);
}

static int ask(struct peer *peer, struct octets destination_list, uint16_t application) {
	struct writer body = writer_growing(UINT16_MAX);

	int error = write_body(peer->attach, application, "passive", &body); /* S-5.1-01 */
	if (error == 0) {
		const struct outgoing outgoing = {
			.destination_list = destination_list,
			.code = APP_ATTACH_REQ,
			.body = writer_octets_written(&body),
			.via_slot = LINK_SLOT_NONE,
			.done = application == SIPS_APPLICATION ? on_sips_response : on_sip_response,
			.userdata = peer,
		};
		error = router_send_request(peer->attach->router, &outgoing, &offer_of(peer, application)->transaction);
	}
	writer_release(&body);
	return error;
}

int sip_attach_node(const struct sip_attach *attach, struct octets list, struct id *ret) {
	const struct id *self = router_node_id(attach->router);
	struct destination last;

	if (destination_list_check(list, self->length, LIMIT_DESTINATIONS) < 0 || destination_last(list, self->length, &last) < 0 ||
	    last.type != DESTINATION_NODE)
		return -EINVAL;
	*ret = id_of(last.value);
	return id_is_wildcard(ret) ? -EINVAL : 0;
}

int sip_attach_find(struct sip_attach *attach, struct octets destination_list, uint16_t application, sip_attach_done done,
		    void *userdata) {
	uint64_t now_us = router_runtime(attach->router)->now_us;
	struct id node_id;

	int error = sip_attach_node(attach, destination_list, &node_id);
	if (error < 0)
		return error;
	struct peer *peer = attach->waiting_count < SIP_ATTACH_WAITING ? peer_get(attach, &node_id) : NULL;
	struct waiting *waiting = peer ? malloc(sizeof(*waiting)) : NULL;
	if (!waiting)
		return peer ? -ENOMEM : -ENOBUFS;
	struct offer *offer = offer_of(peer, application);
	if (id_equal(&node_id, router_node_id(attach->router))) {
		offer->error = -ELOOP;
		offer->expires_us = USEC_NEVER;
	} else if (!offer->transaction && offer->expires_us <= now_us) {
		error = ask(peer, destination_list, application);
	}
	if (error < 0) {
		free(waiting);
		return error;
	}
	*waiting = (struct waiting){.peer = peer, .application = application, .done = done, .userdata = userdata};
	DL_APPEND(peer->waiting, waiting);
	attach->waiting_count++;
	if (!offer->transaction)
		timer_arm_after(router_runtime(attach->router), &peer->answer, 0);
	return 0;
}

/* ---- being asked ---- */

static void on_app_attach(void *userdata, struct request *request) {
	struct sip_attach *attach = userdata;
	struct writer w = writer_growing(UINT16_MAX);
	struct attach_req_ans body;

	if (app_attach_read(request->message.contents.body, &body) < 0) {
		request_fail_text(request, ERROR_INVALID_MESSAGE, "The AppAttachReq does not parse.");
		return;
	}
	bool ours = body.application == SIP_APPLICATION || body.application == SIPS_APPLICATION;
	int error = ours ? write_body(attach, body.application, "active", &w) : -EADDRNOTAVAIL;
	if (error < 0) {
		request_fail_text(request, ERROR_NOT_FOUND, "Application %u is not offered here.",
				  body.application); /* B-6.5.2-01 */
	} else {
		struct peer *peer = peer_get(attach, &request->signer_id);
		if (peer)
			learn(peer, &body);
		request_answer(request, writer_octets_written(&w), NULL);
	}
	writer_release(&w);
}

/* ---- life cycle ---- */

int sip_attach_new(const struct sip_attach_settings *settings, struct sip_attach **ret) {
	struct sip_attach *attach = calloc(1, sizeof(*attach));

	if (!attach)
		return -ENOMEM;
	attach->router = settings->router;
	attach->settings = *settings;
	router_handle(attach->router, APP_ATTACH_REQ, on_app_attach, attach);
	*ret = attach;
	return 0;
}

struct sip_attach *sip_attach_free(struct sip_attach *attach) {
	if (!attach)
		return NULL;
	router_handle(attach->router, APP_ATTACH_REQ, NULL, NULL);
	while (attach->peers)
		peer_free(attach->peers);
	free(attach);
	return NULL;
}
