/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/mdns.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "node/peer_cache.h"

#include <errno.h>
#include <string.h>

struct interface {
	unsigned index;
	uint64_t paid_us, answered_us, due_us; /* due_us: an answer is owed then; USEC_NEVER */
};

enum announce_phase { ANNOUNCE_OFF, ANNOUNCE_PROBE, ANNOUNCE_SAY, ANNOUNCE_ON, ANNOUNCE_CONFLICT };

struct mdns {
	struct mdns_settings settings;
	struct mdns_name service, meta, instance, host;
	char overlay[248];
	uint8_t text[300];
	size_t text_length;
	char label[ID_TEXT_SIZE];
	struct mdns_address addresses[MDNS_ADDRESSES_MAX];
	size_t address_count;
	struct interface interfaces[MDNS_INTERFACES_MAX];
	size_t interface_count;
	struct timer answer, announce, browse;
	enum announce_phase phase;
	unsigned steps;
	bool browsing;
	uint32_t browse_ms;
	uint64_t asked_us; /* the last question about one instance */
	struct mdns_figures figures;
};

static uint64_t now(const struct mdns *mdns) {
	return mdns->settings.runtime->now_us;
}

/* ---- messages of ours ---- */

static void write_addresses(const struct mdns *mdns, struct mdns_writer *m, unsigned interface, uint32_t ttl_s) {
	for (size_t i = 0; i < mdns->address_count; i++) {
		const struct mdns_address *address = &mdns->addresses[i];
		if (address->interface != interface || !address->offered)
			continue;
		struct mdns_record record = {.section = MDNS_ADDITIONAL, .name = mdns->host, .top = true, .ttl_s = ttl_s};
		record.type = address->address.family == AF_INET ? MDNS_A : MDNS_AAAA;
		record.address = address->address;
		mdns_write_record(m, &record);
	}
}

static void write_service(const struct mdns *mdns, struct mdns_writer *m, enum mdns_section section, bool goodbye) {
	struct mdns_record record = {.section = section,
				     .name = mdns->instance,
				     .type = MDNS_SRV,
				     .top = section != MDNS_AUTHORITY,
				     .ttl_s = goodbye ? 0 : MDNS_TTL_HOST_S,
				     .target = mdns->host,
				     .port = mdns->settings.port};

	mdns_write_record(m, &record);
	record.type = MDNS_TXT;
	record.ttl_s = goodbye ? 0 : MDNS_TTL_LONG_S;
	record.text = OCTETS(mdns->text, mdns->text_length);
	mdns_write_record(m, &record);
}

static bool has_offered(const struct mdns *mdns, unsigned interface) {
	for (size_t i = 0; i < mdns->address_count; i++)
		if (mdns->addresses[i].interface == interface && mdns->addresses[i].offered)
			return true;
	return false;
}

/* All our records at once: who asks for one needs the others next. */
static void send_answer(struct mdns *mdns, struct interface *interface, bool goodbye) {
	uint8_t buffer[MDNS_OUT_MAX];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	struct mdns_writer m;
	uint32_t ttl_s = goodbye ? 0 : MDNS_TTL_LONG_S;

	interface->due_us = USEC_NEVER;
	if (!has_offered(mdns, interface->index))
		return;
	mdns_write_start(&m, &w, true);
	mdns_write_record(
		&m,
		&(struct mdns_record){
			.section = MDNS_ANSWER, .name = mdns->service, .type = MDNS_PTR, .ttl_s = ttl_s, .target = mdns->instance});
	if (!goodbye) /* others may have services of this type, too */
		mdns_write_record(&m, &(struct mdns_record){.section = MDNS_ANSWER,
							    .name = mdns->meta,
							    .type = MDNS_PTR,
							    .ttl_s = ttl_s,
							    .target = mdns->service});
	write_service(mdns, &m, MDNS_ANSWER, goodbye);
	write_addresses(mdns, &m, interface->index, goodbye ? 0 : MDNS_TTL_HOST_S);
	if (mdns_write_end(&m) < 0)
		return;
	interface->answered_us = now(mdns);
	mdns->figures.answers++;
	mdns->settings.send(mdns->settings.userdata, interface->index, writer_octets_written(&w));
}

static void send_everywhere(struct mdns *mdns, struct octets message) {
	for (size_t i = 0; i < mdns->interface_count; i++)
		mdns->settings.send(mdns->settings.userdata, mdns->interfaces[i].index, message);
}

static void send_question(struct mdns *mdns, const struct mdns_name *name, uint16_t type) {
	uint8_t buffer[MDNS_OUT_MAX];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	struct mdns_writer m;

	mdns_write_start(&m, &w, false);
	mdns_write_question(&m, name, type, false);
	if (mdns_write_end(&m) == 0)
		send_everywhere(mdns, writer_octets_written(&w));
}

/* RFC 6762 8.1: whoever has the name already answers. */
static void send_probe(struct mdns *mdns) {
	uint8_t buffer[MDNS_OUT_MAX];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	struct mdns_writer m;

	mdns_write_start(&m, &w, false);
	mdns_write_question(&m, &mdns->instance, MDNS_ANY, false);
	write_service(mdns, &m, MDNS_AUTHORITY, false);
	if (mdns_write_end(&m) == 0)
		send_everywhere(mdns, writer_octets_written(&w));
}

/* ---- announcing ---- */

static void on_announce(struct timer *timer, void *userdata) {
	struct mdns *mdns = userdata;

	if (mdns->phase == ANNOUNCE_CONFLICT) {
		mdns->phase = ANNOUNCE_PROBE;
		mdns->steps = 0;
	}
	if (mdns->phase == ANNOUNCE_PROBE) {
		if (mdns->steps++ < MDNS_PROBES) {
			send_probe(mdns);
			timer_arm_after(mdns->settings.runtime, timer, MDNS_PROBE_MS * USEC_PER_MSEC);
			return;
		}
		mdns->phase = ANNOUNCE_SAY;
		mdns->steps = 0;
	}
	if (mdns->phase != ANNOUNCE_SAY)
		return;
	for (size_t i = 0; i < mdns->interface_count; i++)
		send_answer(mdns, &mdns->interfaces[i], false);
	if (++mdns->steps < MDNS_ANNOUNCEMENTS)
		timer_arm_after(mdns->settings.runtime, timer, MDNS_ANSWER_INTERVAL_MS * USEC_PER_MSEC);
	else
		mdns->phase = ANNOUNCE_ON;
}

static bool is_announced(const struct mdns *mdns) {
	return mdns->phase == ANNOUNCE_SAY || mdns->phase == ANNOUNCE_ON;
}

/* Anew, also when the addresses changed. */
static void announce_begin(struct mdns *mdns) {
	struct runtime *runtime = mdns->settings.runtime;

	mdns->phase = ANNOUNCE_PROBE;
	mdns->steps = 0;
	timer_arm_after(runtime, &mdns->announce, runtime_random_below(runtime, MDNS_PROBE_MS * USEC_PER_MSEC));
}

void mdns_announce(struct mdns *mdns, bool on) {
	if (on && mdns->phase == ANNOUNCE_OFF) {
		announce_begin(mdns);
	} else if (!on && mdns->phase != ANNOUNCE_OFF) {
		for (size_t i = 0; is_announced(mdns) && i < mdns->interface_count; i++)
			send_answer(mdns, &mdns->interfaces[i], true);
		mdns->phase = ANNOUNCE_OFF;
		timer_disarm(mdns->settings.runtime, &mdns->announce);
		timer_disarm(mdns->settings.runtime, &mdns->answer);
		for (size_t i = 0; i < mdns->interface_count; i++)
			mdns->interfaces[i].due_us = USEC_NEVER;
	}
}

/* Our name is made of our Node-ID, so another one would be no better: we fall silent and ask again later. */
static void conflict(struct mdns *mdns) {
	if (mdns->phase == ANNOUNCE_OFF || mdns->phase == ANNOUNCE_CONFLICT)
		return;
	log_warning("Somebody else on the local network announces the name of this node; announcing again in %u s.",
		    MDNS_CONFLICT_S);
	mdns->figures.conflicts++;
	mdns->phase = ANNOUNCE_CONFLICT;
	timer_disarm(mdns->settings.runtime, &mdns->answer);
	for (size_t i = 0; i < mdns->interface_count; i++)
		mdns->interfaces[i].due_us = USEC_NEVER;
	timer_arm_after(mdns->settings.runtime, &mdns->announce, MDNS_CONFLICT_S * USEC_PER_SEC);
}

static void on_answer(struct timer *timer, void *userdata) {
	struct mdns *mdns = userdata;
	uint64_t next_us = USEC_NEVER;

	for (size_t i = 0; i < mdns->interface_count; i++) {
		struct interface *interface = &mdns->interfaces[i];
		if (interface->due_us <= now(mdns))
			send_answer(mdns, interface, false);
		else if (interface->due_us < next_us)
			next_us = interface->due_us;
	}
	if (next_us != USEC_NEVER)
		timer_arm(mdns->settings.runtime, timer, next_us);
}

static void answer_later(struct mdns *mdns, struct interface *interface, bool shared) {
	struct runtime *runtime = mdns->settings.runtime;
	uint64_t due_us = now(mdns);

	if (shared)
		due_us += MDNS_ANSWER_DELAY_MIN_MS * USEC_PER_MSEC +
			  runtime_random_below(runtime, (MDNS_ANSWER_DELAY_MAX_MS - MDNS_ANSWER_DELAY_MIN_MS) * USEC_PER_MSEC);
	if (interface->answered_us != 0 && due_us < interface->answered_us + MDNS_ANSWER_INTERVAL_MS * USEC_PER_MSEC)
		due_us = interface->answered_us + MDNS_ANSWER_INTERVAL_MS * USEC_PER_MSEC;
	if (interface->due_us > due_us)
		interface->due_us = due_us;
	if (!mdns->answer.armed || mdns->answer.due_us > interface->due_us)
		timer_arm(runtime, &mdns->answer, interface->due_us);
}

/* ---- browsing ---- */

static void on_browse(struct timer *timer, void *userdata) {
	struct mdns *mdns = userdata;

	send_question(mdns, &mdns->service, MDNS_PTR);
	timer_arm_after(mdns->settings.runtime, timer, mdns->browse_ms * USEC_PER_MSEC);
	mdns->browse_ms = mdns->browse_ms * 2 < MDNS_BROWSE_MAX_MS ? mdns->browse_ms * 2 : MDNS_BROWSE_MAX_MS;
}

void mdns_browse(struct mdns *mdns, bool on) {
	struct runtime *runtime = mdns->settings.runtime;

	if (on == mdns->browsing)
		return;
	mdns->browsing = on;
	mdns->browse_ms = MDNS_BROWSE_FIRST_MS;
	if (on)
		timer_arm_after(runtime, &mdns->browse,
				runtime_random_below(runtime, MDNS_ANSWER_DELAY_MAX_MS * USEC_PER_MSEC)); /* RFC 6762 5.2 */
	else
		timer_disarm(runtime, &mdns->browse);
}

/* ---- what is received ---- */

static bool in_network(const struct mdns_address *network, const struct address *address) {
	if (network->address.family != address->family)
		return false;
	for (unsigned i = 0; i < network->bits; i++)
		if ((network->address.octets[i / 8] ^ address->octets[i / 8]) & 0x80 >> i % 8)
			return false;
	return true;
}

static bool is_link_local(const struct address *address) {
	return address->family == AF_INET6 && address->octets[0] == 0xfe && (address->octets[1] & 0xc0) == 0x80;
}

static bool on_link(const struct mdns *mdns, unsigned interface, const struct address *address) {
	if (is_link_local(address))
		return true;
	for (size_t i = 0; i < mdns->address_count; i++)
		if (mdns->addresses[i].interface == interface && in_network(&mdns->addresses[i], address))
			return true;
	return false;
}

static void on_question(struct mdns *mdns, struct mdns_reader *m, struct interface *interface) {
	struct mdns_record record;
	bool shared = false, unique = false, known = false;
	int more;

	while ((more = mdns_reader_next(m, &record)) > 0) {
		bool any = record.type == MDNS_ANY;
		if (record.section == MDNS_QUESTION) {
			shared |= (any || record.type == MDNS_PTR) &&
				  (mdns_name_equal(&record.name, &mdns->service) || mdns_name_equal(&record.name, &mdns->meta));
			unique |= (any || record.type == MDNS_SRV || record.type == MDNS_TXT) &&
				  mdns_name_equal(&record.name, &mdns->instance);
			unique |= (any || record.type == MDNS_A || record.type == MDNS_AAAA) &&
				  mdns_name_equal(&record.name, &mdns->host);
		} else if (record.section == MDNS_ANSWER && record.type == MDNS_PTR && record.ttl_s >= MDNS_TTL_LONG_S / 2) {
			known |= mdns_name_equal(&record.name, &mdns->service) && mdns_name_equal(&record.target, &mdns->instance);
		}
	}
	if (more < 0)
		mdns->figures.malformed++;
	else if (is_announced(mdns) && (unique || (shared && !known))) /* RFC 6762 7.1 */
		answer_later(mdns, interface, shared);
}

/* What one answer says about one service, and about hosts. */
struct instance {
	struct mdns_name name, target;
	bool described, ours; /* there is a TXT record; it names our overlay */
	uint16_t port;
};

struct findings {
	struct instance instances[MDNS_INSTANCES_MAX];
	struct {
		struct mdns_name name;
		struct address address;
	} hosts[MDNS_HOSTS_MAX];
	size_t instance_count, host_count;
};

static struct instance *instance_of(const struct mdns *mdns, struct findings *findings, const struct mdns_name *name) {
	if (!mdns_name_child(name, &mdns->service, NULL) || mdns_name_equal(name, &mdns->instance))
		return NULL;
	for (size_t i = 0; i < findings->instance_count; i++)
		if (mdns_name_equal(&findings->instances[i].name, name))
			return &findings->instances[i];
	if (findings->instance_count == MDNS_INSTANCES_MAX)
		return NULL;
	struct instance *instance = &findings->instances[findings->instance_count++];
	*instance = (struct instance){.name = *name};
	return instance;
}

static bool names_overlay(const struct mdns *mdns, struct octets text) {
	struct octets value;
	size_t length = strlen(mdns->overlay);

	return mdns_text_value(text, "overlay", &value) && value.length == length &&
	       strncasecmp((const char *)value.data, mdns->overlay, length) == 0;
}

static void take_record(struct mdns *mdns, struct findings *findings, const struct mdns_record *record) {
	struct instance *instance;

	if (record->ttl_s == 0)
		return; /* good-bye */
	switch (record->type) {
	case MDNS_PTR:
		if (mdns_name_equal(&record->name, &mdns->service))
			instance_of(mdns, findings, &record->target);
		break;
	case MDNS_SRV:
		instance = instance_of(mdns, findings, &record->name);
		if (instance) {
			instance->port = record->port;
			instance->target = record->target;
		}
		break;
	case MDNS_TXT:
		instance = instance_of(mdns, findings, &record->name);
		if (instance) {
			instance->described = true;
			instance->ours = names_overlay(mdns, record->text);
		}
		break;
	case MDNS_A:
	case MDNS_AAAA:
		if (findings->host_count < MDNS_HOSTS_MAX) {
			findings->hosts[findings->host_count].name = record->name;
			findings->hosts[findings->host_count++].address = record->address;
		}
		break;
	default:
		break;
	}
}

static void report(struct mdns *mdns, unsigned interface, struct address address, uint16_t port) {
	if (!on_link(mdns, interface, &address)) {
		mdns->figures.off_link++;
		return;
	}
	address.port = port;
	address.scope = is_link_local(&address) ? interface : 0;
	if (!peer_address_usable(&address))
		return;
	mdns->figures.found++;
	mdns->settings.found(mdns->settings.userdata, &address);
}

static void report_instance(struct mdns *mdns, unsigned interface, const struct address *from, const struct findings *findings,
			    const struct instance *instance) {
	bool any = false;

	if (instance->described && !instance->ours) {
		mdns->figures.other_overlay++;
		return;
	}
	if (!instance->described || instance->port == 0) {
		/* A pointer alone: asked about, but not more often than once a second. */
		if (now(mdns) >= mdns->asked_us + USEC_PER_SEC || mdns->asked_us == 0) {
			mdns->asked_us = now(mdns);
			send_question(mdns, &instance->name, MDNS_ANY);
		}
		return;
	}
	for (size_t i = 0; i < findings->host_count; i++) {
		if (!mdns_name_equal(&findings->hosts[i].name, &instance->target))
			continue;
		any = true;
		report(mdns, interface, findings->hosts[i].address, instance->port);
	}
	if (!any) /* who speaks for itself can be reached where it speaks from */
		report(mdns, interface, *from, instance->port);
}

static void on_response(struct mdns *mdns, struct mdns_reader *m, unsigned interface, const struct address *from) {
	struct findings findings = {.instance_count = 0};
	struct mdns_record record;
	int more;

	while ((more = mdns_reader_next(m, &record)) > 0) {
		if (record.section == MDNS_QUESTION)
			continue;
		if (record.type == MDNS_SRV && record.ttl_s > 0 && mdns_name_equal(&record.name, &mdns->instance) &&
		    (record.port != mdns->settings.port || !mdns_name_equal(&record.target, &mdns->host)))
			conflict(mdns); /* RFC 6762 9 */
		if (mdns->browsing)
			take_record(mdns, &findings, &record);
	}
	if (more < 0) {
		mdns->figures.malformed++;
		return; /* nothing of a damaged message is believed */
	}
	for (size_t i = 0; i < findings.instance_count; i++)
		report_instance(mdns, interface, from, &findings, &findings.instances[i]);
}

static struct interface *interface_of(struct mdns *mdns, unsigned index) {
	for (size_t i = 0; i < mdns->interface_count; i++)
		if (mdns->interfaces[i].index == index)
			return &mdns->interfaces[i];
	return NULL;
}

static bool take_token(const struct mdns *mdns, struct interface *interface) {
	return rate_take(&interface->paid_us, now(mdns), USEC_PER_SEC / MDNS_MESSAGES_PER_SECOND, MDNS_MESSAGES_BURST);
}

void mdns_receive(struct mdns *mdns, unsigned interface_index, const struct address *from, struct octets message) {
	struct interface *interface = interface_of(mdns, interface_index);
	struct mdns_reader m;

	if (!interface)
		return;
	mdns->figures.received++;
	if (!take_token(mdns, interface)) {
		mdns->figures.limited++;
		return;
	}
	/* RFC 6762 11 and 6: from the local network, and, being no simple resolver's question, from port 5353. */
	if (!on_link(mdns, interface_index, from) || from->port != MDNS_PORT) {
		mdns->figures.off_link++;
		return;
	}
	if (mdns_reader_start(message, &m) < 0) {
		mdns->figures.malformed++;
		return;
	}
	if (m.response)
		on_response(mdns, &m, interface_index, from);
	else
		on_question(mdns, &m, interface);
}

/* ---- life cycle ---- */

void mdns_set_addresses(struct mdns *mdns, const struct mdns_address *addresses, size_t count) {
	struct interface old[MDNS_INTERFACES_MAX];
	size_t old_count = mdns->interface_count;

	if (count > MDNS_ADDRESSES_MAX)
		count = MDNS_ADDRESSES_MAX;
	memcpy(old, mdns->interfaces, sizeof(old));
	mdns->interface_count = 0;
	mdns->address_count = count;
	for (size_t i = 0; i < count; i++) {
		mdns->addresses[i] = addresses[i];
		if (interface_of(mdns, addresses[i].interface) || mdns->interface_count == MDNS_INTERFACES_MAX)
			continue;
		struct interface interface = {.index = addresses[i].interface, .due_us = USEC_NEVER};
		for (size_t k = 0; k < old_count; k++)
			if (old[k].index == interface.index)
				interface = old[k]; /* with its limits */
		mdns->interfaces[mdns->interface_count++] = interface;
	}
	if (is_announced(mdns))
		announce_begin(mdns);
	if (mdns->browsing) {
		mdns_browse(mdns, false);
		mdns_browse(mdns, true);
	}
}

static int make_names(struct mdns *mdns) {
	struct mdns_name local;
	struct octets label;

	id_format(&mdns->settings.node_id, mdns->label);
	label = octets_of_string(mdns->label);
	if (mdns_name_parse("local", &local) < 0 || mdns_name_parse("_reload._udp.local", &mdns->service) < 0 ||
	    mdns_name_parse("_services._dns-sd._udp.local", &mdns->meta) < 0 ||
	    mdns_name_prepend(label, &mdns->service, &mdns->instance) < 0 || mdns_name_prepend(label, &local, &mdns->host) < 0)
		return -EINVAL;
	return 0;
}

static int make_text(struct mdns *mdns) {
	struct writer w = writer_fixed(mdns->text, sizeof(mdns->text));

	if (snprintf(mdns->overlay, sizeof(mdns->overlay), "%s", mdns->settings.overlay) >= (int)sizeof(mdns->overlay))
		return -EINVAL;
	mdns->settings.overlay = mdns->overlay; /* the caller's goes with its configuration */
	writer_vector8(&w, octets_of_string("txtvers=1"));
	size_t mark = writer_begin(&w, 1);
	writer_octets(&w, octets_of_string("overlay="));
	writer_octets(&w, octets_of_string(mdns->overlay));
	writer_end(&w, mark, 1);
	mdns->text_length = w.length;
	return writer_finish(&w) < 0 ? -EINVAL : 0;
}

int mdns_new(const struct mdns_settings *settings, struct mdns **ret) {
	_cleanup_free_ struct mdns *mdns = calloc(1, sizeof(*mdns));

	if (!mdns)
		return -ENOMEM;
	mdns->settings = *settings;
	if (make_names(mdns) < 0 || make_text(mdns) < 0)
		return -EINVAL;
	timer_init(&mdns->answer, on_answer, mdns);
	timer_init(&mdns->announce, on_announce, mdns);
	timer_init(&mdns->browse, on_browse, mdns);
	*ret = TAKE(mdns);
	return 0;
}

struct mdns *mdns_free(struct mdns *mdns) {
	if (!mdns)
		return NULL;
	timer_disarm(mdns->settings.runtime, &mdns->answer);
	timer_disarm(mdns->settings.runtime, &mdns->announce);
	timer_disarm(mdns->settings.runtime, &mdns->browse);
	free(mdns);
	return NULL;
}

const struct mdns_figures *mdns_figures(const struct mdns *mdns) {
	return &mdns->figures;
}
