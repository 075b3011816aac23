/* SPDX-License-Identifier: BSD-2-Clause */
/* What a node does with multicast DNS messages from the local network. Input: one octet of settings, then one message. */
#include "node/mdns.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bed {
	struct runtime runtime;
	uint8_t random;
	unsigned sent;
};

static uint64_t fixed_ms(void *userdata) {
	(void)userdata;
	return 1700000000000;
}

static void fixed_random(void *userdata, void *data, size_t length) {
	struct bed *bed = userdata;

	for (size_t i = 0; i < length; i++)
		((uint8_t *)data)[i] = bed->random++;
}

static void on_send(void *userdata, unsigned interface, struct octets message) {
	struct bed *bed = userdata;
	struct mdns_reader m;
	struct mdns_record record;
	int more = 1;

	if (interface != 7 || message.length > MDNS_OUT_MAX || mdns_reader_start(message, &m) < 0)
		abort();
	while (more > 0)
		more = mdns_reader_next(&m, &record);
	if (more < 0)
		abort();
	bed->sent++;
}

/* Only addresses of the interface's network, with a port. */
static void on_found(void *userdata, const struct address *address) {
	static const uint8_t network[] = {192, 0, 2};

	(void)userdata;
	if (address->port == 0)
		abort();
	if (address->family == AF_INET && memcmp(address->octets, network, sizeof(network)) != 0)
		abort();
	if (address->family == AF_INET6 && address->octets[0] != 0xfe)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct bed bed = {.runtime.now_us = 1000 * USEC_PER_SEC};
	struct mdns_settings settings = {.runtime = &bed.runtime,
					 .overlay = "example.org",
					 .port = 6084,
					 .userdata = &bed,
					 .send = on_send,
					 .found = on_found};
	struct mdns_address network = {.interface = 7, .bits = 24, .offered = true};
	struct address from;
	struct mdns *mdns;

	if (size < 1 || size > MDNS_MESSAGE_MAX + 2)
		return 0;
	bed.runtime.source = (struct runtime_source){fixed_ms, fixed_random, &bed};
	if (id_parse("0123456789abcdef0123456789abcdef", &settings.node_id) < 0 ||
	    address_parse("192.0.2.1", MDNS_PORT, &network.address) < 0 || address_parse("192.0.2.9", MDNS_PORT, &from) < 0 ||
	    mdns_new(&settings, &mdns) < 0)
		abort();
	mdns_set_addresses(mdns, &network, 1);
	mdns_announce(mdns, data[0] & 1);
	mdns_browse(mdns, data[0] & 2);
	for (unsigned i = 0; i < 20 && runtime_next(&bed.runtime) != USEC_NEVER; i++) {
		if (runtime_next(&bed.runtime) > bed.runtime.now_us)
			bed.runtime.now_us = runtime_next(&bed.runtime);
		runtime_fire(&bed.runtime);
	}
	unsigned before = bed.sent;
	/* A block of exactly this size, so that reading beyond it is noticed. */
	uint8_t *copy = malloc(size > 1 ? size - 1 : 1);
	if (!copy)
		abort();
	memcpy(copy, data + 1, size - 1);
	mdns_receive(mdns, 7, &from, OCTETS(copy, size - 1));
	free(copy);
	if (bed.sent > before + 1)
		abort(); /* one message never brings forth more than one at once */
	mdns_free(mdns);
	return 0;
}
