/* SPDX-License-Identifier: BSD-2-Clause */
#include "link/links.h"

#include "link/slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* A connect() for which TLS is, or may be, tried besides DTLS. Ends with the first link up, or the last attempt down. */
struct race {
	struct links *links;
	struct timer timer; /* until TLS starts */
	struct address candidates[LINK_CANDIDATES_MAX];
	size_t candidate_count;
	struct id expected;
	uint16_t slot;
	bool dtls, tls; /* under way */
	bool tls_tried; /* or given up */
	bool postponed; /* because DTLS was answered */
	enum link_reason reason;
	struct race *prev, *next;
};

struct links {
	struct runtime *runtime;
	struct transport_events events;
	struct link_slots numbers;
	struct dtls_links *dtls;
	struct tls_links *tls;
	struct transport dtls_transport, tls_transport;
	uint8_t owner[LINK_SLOTS_MAX]; /* of links that are up: enum links_protocols, 0 none */
	struct race *races;
	unsigned doubts;
};

/* --- races --- */

static struct race *race_of(const struct links *links, uint16_t slot) {
	struct race *race;

	DL_FOREACH (links->races, race)
		if (race->slot == slot)
			return race;
	return NULL;
}

/* Lets go of the slot; whoever has it up holds it, too. */
static void race_free(struct race *race) {
	struct links *links = race->links;

	timer_disarm(links->runtime, &race->timer);
	DL_DELETE(links->races, race);
	link_slots_release(&links->numbers, race->slot);
	free(race);
}

static void race_start_tls(struct race *race) {
	struct links *links = race->links;
	uint16_t slot;

	timer_disarm(links->runtime, &race->timer);
	race->tls_tried = true;
	race->tls = tls_links_connect(links->tls, race->slot, race->candidates, race->candidate_count,
				      id_is_none(&race->expected) ? NULL : &race->expected, &slot) == 0;
}

static void race_timer(struct timer *timer, void *userdata) {
	struct race *race = userdata;
	struct links *links = race->links;

	if (race->dtls && !race->postponed && dtls_links_heard(links->dtls, race->slot)) {
		race->postponed = true;
		timer_arm_after(links->runtime, timer, LINKS_ANSWERED_MS * USEC_PER_MSEC);
		return;
	}
	race_start_tls(race);
}

static void on_up(struct links *links, unsigned protocol, uint16_t slot, bool initiated) {
	struct race *race = race_of(links, slot);

	links->owner[slot] = (uint8_t)protocol;
	if (race) {
		if (protocol == LINKS_TLS && race->dtls) {
			links->doubts++;
			dtls_links_abandon(links->dtls, slot);
		} else if (protocol == LINKS_DTLS && race->tls) {
			tls_links_abandon(links->tls, slot);
		}
		race_free(race);
	}
	if (protocol == LINKS_DTLS)
		links->doubts = 0;
	links->events.up(links->events.userdata, slot, initiated);
}

static void on_down(struct links *links, unsigned protocol, uint16_t slot, enum link_reason reason) {
	struct race *race = race_of(links, slot);

	if (!race) {
		links->events.down(links->events.userdata, slot, reason); /* may still ask about the link */
		links->owner[slot] = 0;
		return;
	}
	if (protocol == LINKS_DTLS)
		race->dtls = false;
	else
		race->tls = false;
	/* That somebody refused us tells more than that nobody was there. */
	if (race->reason != LINK_HANDSHAKE_FAILED)
		race->reason = reason;
	if (!race->tls_tried) {
		race_start_tls(race);
		if (race->tls && reason == LINK_TIMED_OUT)
			links->doubts++;
	}
	if (race->dtls || race->tls)
		return;
	reason = race->reason;
	links->events.down(links->events.userdata, slot, reason);
	race_free(race);
}

static void on_dtls_up(void *userdata, uint16_t slot, bool initiated) {
	on_up(userdata, LINKS_DTLS, slot, initiated);
}

static void on_dtls_down(void *userdata, uint16_t slot, enum link_reason reason) {
	on_down(userdata, LINKS_DTLS, slot, reason);
}

static void on_tls_up(void *userdata, uint16_t slot, bool initiated) {
	on_up(userdata, LINKS_TLS, slot, initiated);
}

static void on_tls_down(void *userdata, uint16_t slot, enum link_reason reason) {
	on_down(userdata, LINKS_TLS, slot, reason);
}

static void on_suspect(void *userdata, uint16_t slot, bool suspected) {
	const struct links *links = userdata;

	if (links->events.suspect)
		links->events.suspect(links->events.userdata, slot, suspected);
}

static void on_receive(void *userdata, uint16_t slot, uint8_t *message, size_t length) {
	const struct links *links = userdata;

	links->events.receive(links->events.userdata, slot, message, length);
}

/* --- transport --- */

static const struct transport *transport_of(const struct links *links, uint16_t slot) {
	if (slot >= LINK_SLOTS_MAX)
		return NULL;
	if (links->owner[slot] == LINKS_TLS)
		return &links->tls_transport;
	if (links->owner[slot] == LINKS_DTLS)
		return &links->dtls_transport;
	/* Not up yet. */
	const struct race *race = race_of(links, slot);
	if (links->dtls && (!race || race->dtls))
		return &links->dtls_transport;
	return &links->tls_transport;
}

static bool any_of(const struct address *candidates, size_t count, bool tcp) {
	for (size_t i = 0; i < count; i++)
		if ((candidates[i].protocol == IPPROTO_TCP) == tcp)
			return true;
	return false;
}

static int transport_connect(void *transport, const struct address *candidates, size_t count, const struct id *expected,
			     uint16_t *ret_slot) {
	struct links *links = transport;
	bool udp = links->dtls && any_of(candidates, count, false), tcp = links->tls && any_of(candidates, count, true);

	if (!udp && !tcp)
		return -EAFNOSUPPORT;
	struct race *race = calloc(1, sizeof(*race));
	if (!race)
		return -ENOMEM;
	int error = link_slots_take(&links->numbers, &race->slot);
	if (error < 0) {
		free(race);
		return error;
	}
	race->links = links;
	race->candidate_count = count < LINK_CANDIDATES_MAX ? count : LINK_CANDIDATES_MAX;
	memcpy(race->candidates, candidates, race->candidate_count * sizeof(*candidates));
	race->expected = expected ? *expected : ID_NONE;
	race->reason = LINK_UNREACHABLE;
	race->tls_tried = !tcp;
	timer_init(&race->timer, race_timer, race);
	DL_APPEND(links->races, race);
	uint16_t slot = race->slot;
	error = -EAFNOSUPPORT;
	if (udp)
		error = dtls_links_connect(links->dtls, slot, candidates, count, expected, &slot);
	race->dtls = error == 0;
	if (race->dtls && tcp) {
		bool doubted = links->doubts >= LINKS_DOUBTS || candidates[0].protocol == IPPROTO_TCP;
		unsigned ms = doubted ? LINKS_HEAD_START_DOUBTED_MS : LINKS_HEAD_START_MS;
		timer_arm_after(links->runtime, &race->timer, ms * USEC_PER_MSEC);
	} else if (tcp) {
		error = tls_links_connect(links->tls, slot, candidates, count, expected, &slot);
		race->tls_tried = true;
		race->tls = error == 0;
	}
	if (error < 0) {
		race_free(race);
		return error;
	}
	*ret_slot = slot;
	return 0;
}

static int transport_send(void *transport, uint16_t slot, const struct iovec *parts, size_t count, unsigned flags) {
	const struct transport *owner = transport_of(transport, slot);

	return owner ? owner->ops->send(owner->object, slot, parts, count, flags) : -ENOTCONN;
}

static void transport_close(void *transport, uint16_t slot, enum link_reason reason) {
	struct links *links = transport;
	const struct transport *owner = transport_of(links, slot);
	struct race *race = slot < LINK_SLOTS_MAX ? race_of(links, slot) : NULL;

	if (race) { /* a connect() that is no longer wanted */
		if (race->dtls)
			dtls_links_abandon(links->dtls, slot);
		if (race->tls)
			tls_links_abandon(links->tls, slot);
		links->events.down(links->events.userdata, slot, reason);
		race_free(race);
	} else if (owner) {
		owner->ops->close(owner->object, slot, reason);
	}
}

static size_t transport_candidates(void *transport, struct address *out, size_t max) {
	const struct links *links = transport;
	size_t count = 0, room = links->tls ? max / 2 : max;

	if (links->dtls)
		count = links->dtls_transport.ops->candidates(links->dtls_transport.object, out, links->tls ? room : max);
	if (links->tls)
		count += links->tls_transport.ops->candidates(links->tls_transport.object, out + count, links->dtls ? room : max);
	return count;
}

static struct certificate *transport_certificate(void *transport, uint16_t slot) {
	const struct transport *owner = transport_of(transport, slot);

	return owner ? owner->ops->certificate(owner->object, slot) : NULL;
}

static uint8_t transport_generation(void *transport, uint16_t slot) {
	const struct links *links = transport;

	return slot < LINK_SLOTS_MAX ? links->numbers.generations[slot] : 0;
}

static struct address transport_address(void *transport, uint16_t slot) {
	const struct transport *owner = transport_of(transport, slot);

	return owner ? owner->ops->address(owner->object, slot) : (struct address){0};
}

static size_t transport_payload_max(void *transport, uint16_t slot) {
	const struct transport *owner = transport_of(transport, slot);

	return owner ? owner->ops->payload_max(owner->object, slot) : 0;
}

static void transport_statistics(void *transport, uint16_t slot, struct link_statistics *ret) {
	const struct transport *owner = transport_of(transport, slot);

	if (owner)
		owner->ops->statistics(owner->object, slot, ret);
	else
		*ret = (struct link_statistics){.cipher = "", .protocol = ""};
}

struct transport links_transport(struct links *links) {
	static const struct transport_ops ops = {
		.connect = transport_connect,
		.send = transport_send,
		.close = transport_close,
		.candidates = transport_candidates,
		.certificate = transport_certificate,
		.generation = transport_generation,
		.address = transport_address,
		.payload_max = transport_payload_max,
		.statistics = transport_statistics,
	};

	return (struct transport){.ops = &ops, .object = links};
}

/* --- life --- */

static int open_tls(struct links *links, const struct dtls_settings *dtls, char *reason, size_t reason_size) {
	struct transport_events events = {links, on_tls_up, on_tls_down, on_suspect, on_receive};
	struct tls_settings settings = {
		.runtime = dtls->runtime,
		.trust = dtls->trust,
		.credential = dtls->credential,
		.listen_count = dtls->listen_count,
		.announce_count = dtls->announce_count,
		.keylog_path = dtls->keylog_path,
		.cipher_list = dtls->cipher_list,
		.secret = dtls->secret,
		.slots = &links->numbers,
		.kernel = dtls->kernel,
	};

	memcpy(settings.listen, dtls->listen, sizeof(settings.listen));
	memcpy(settings.announce, dtls->announce, sizeof(settings.announce));
	/* "Any port" has to be the same one for both. */
	for (size_t i = 0; links->dtls && i < settings.listen_count; i++)
		if (settings.listen[i].port == 0)
			settings.listen[i].port = dtls_links_local(links->dtls).port;
	int error = tls_links_new(&settings, &events, &links->tls, reason, reason_size);
	if (error == 0)
		links->tls_transport = tls_links_transport(links->tls);
	return error;
}

int links_new(const struct dtls_settings *dtls, unsigned protocols, const struct transport_events *events, struct links **ret,
	      char *reason, size_t reason_size) {
	struct transport_events dtls_events = {NULL, on_dtls_up, on_dtls_down, on_suspect, on_receive};
	struct dtls_settings own = *dtls;
	int error = 0;

	if (!(protocols & LINKS_ALL)) {
		snprintf(reason, reason_size, "no overlay link protocol is left to use");
		return -EINVAL;
	}
	struct links *links = calloc(1, sizeof(*links));
	if (!links) {
		snprintf(reason, reason_size, "out of memory");
		return -ENOMEM;
	}
	links->runtime = dtls->runtime;
	links->events = *events;
	link_slots_init(&links->numbers, links->runtime, dtls->links_max ? dtls->links_max : LINK_SLOTS_MAX);
	own.slots = &links->numbers;
	dtls_events.userdata = links;
	if (protocols & LINKS_DTLS)
		error = dtls_links_new(&own, &dtls_events, &links->dtls, reason, reason_size);
	if (error == 0 && links->dtls)
		links->dtls_transport = dtls_links_transport(links->dtls);
	if (error == 0 && protocols & LINKS_TLS)
		error = open_tls(links, &own, reason, reason_size);
	if (error < 0) {
		links_free(links);
		return error;
	}
	*ret = links;
	return 0;
}

struct links *links_free(struct links *links) {
	if (!links)
		return NULL;
	while (links->races)
		race_free(links->races);
	dtls_links_free(links->dtls);
	tls_links_free(links->tls);
	free(links);
	return NULL;
}

struct dtls_links *links_dtls(struct links *links) {
	return links->dtls;
}

struct tls_links *links_tls(struct links *links) {
	return links->tls;
}

size_t links_fds(const struct links *links, int *fds, size_t max) {
	size_t count = links->dtls ? dtls_links_fds(links->dtls, fds, max) : 0;

	if (links->tls && count < max)
		fds[count++] = tls_links_fd(links->tls);
	return count;
}

bool links_want_write(const struct links *links) {
	return links->dtls && dtls_links_want_write(links->dtls);
}

bool links_receive(struct links *links, int fd) {
	if (links->tls && fd == tls_links_fd(links->tls))
		return tls_links_ready(links->tls);
	return links->dtls && dtls_links_receive(links->dtls, fd);
}

void links_flush(struct links *links) {
	if (links->tls)
		tls_links_flush(links->tls);
	if (links->dtls)
		dtls_links_flush(links->dtls);
}

void links_recheck(struct links *links) {
	if (links->dtls)
		dtls_links_recheck(links->dtls);
	if (links->tls)
		tls_links_recheck(links->tls);
}

int links_set_credential(struct links *links, struct credential *credential) {
	int error = 0;

	if (links->dtls)
		error = dtls_links_set_credential(links->dtls, credential);
	if (error == 0 && links->tls)
		error = tls_links_set_credential(links->tls, credential);
	return error;
}

int links_set_secret(struct links *links, const char *secret, char *reason, size_t reason_size) {
	int error = 0;

	if (links->dtls)
		error = dtls_links_set_secret(links->dtls, secret, reason, reason_size);
	if (error == 0 && links->tls)
		error = tls_links_set_secret(links->tls, secret, reason, reason_size);
	return error;
}

struct address links_local(const struct links *links) {
	return links->dtls ? dtls_links_local(links->dtls) : tls_links_local(links->tls);
}

const struct dtls_counters *links_dtls_counters(const struct links *links) {
	static const struct dtls_counters none;

	return links->dtls ? dtls_links_counters(links->dtls) : &none;
}

const struct tls_counters *links_tls_counters(const struct links *links) {
	static const struct tls_counters none;

	return links->tls ? tls_links_counters(links->tls) : &none;
}
