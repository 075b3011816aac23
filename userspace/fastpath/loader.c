/* SPDX-License-Identifier: BSD-2-Clause */
#include "fastpath/loader.h"

#include "base/log.h"
#include "fastpath/pins.h"
#include "ringgate.skel.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <limits.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { VERIFIER_LOG = 1 << 20, LOG_TAIL = 2000 };

struct port {
	unsigned ifindex; /* 0: free */
	enum fastpath_mode mode;
	int link;
	bool unclaimed; /* adopted, and fastpath_loader_attach() was not called yet */
};

struct fastpath_loader {
	struct ringgate_bpf *skeleton;
	struct fastpath_tables tables;
	struct pins *pins; /* NULL: none, for this reason */
	char pins_reason[PINS_REASON_SIZE];
	bool adopted;
	struct port ports[FASTPATH_PORTS_MAX];
};

const char *fastpath_mode_name(enum fastpath_mode mode) {
	static const char *const names[] = {"off", "generic", "native"};

	return (size_t)mode < ARRAY_LENGTH(names) ? names[mode] : "?";
}

__attribute__((format(printf, 2, 3))) static void explain(char *reason, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, FASTPATH_REASON_SIZE, format, arguments);
	va_end(arguments);
}

/* libbpf's own messages: what goes wrong is told by the return values. */
static int print_library(enum libbpf_print_level level, const char *format, va_list arguments) {
	char line[512];

	(void)level;
	if (log_level < LOG_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), format, arguments);
	line[strcspn(line, "\n")] = '\0';
	log_debug("libbpf: %s", line);
	return 0;
}

/* ---- memory of the maps ---- */

struct mapping {
	struct bpf_map *map;
	void **place;
};

static size_t mapping_size(const struct bpf_map *map) {
	size_t value = ((size_t)bpf_map__value_size(map) + 7) / 8 * 8, page = (size_t)sysconf(_SC_PAGESIZE);

	return (value * bpf_map__max_entries(map) + page - 1) / page * page;
}

enum { MAPPINGS = 5 };

static void list_mappings(struct fastpath_loader *loader, struct mapping list[static MAPPINGS]) {
	struct fastpath_tables *tables = &loader->tables;

	list[0] = (struct mapping){loader->skeleton->maps.control, (void **)&tables->control};
	list[1] = (struct mapping){loader->skeleton->maps.settings, (void **)&tables->settings};
	list[2] = (struct mapping){loader->skeleton->maps.routes, (void **)&tables->routes};
	list[3] = (struct mapping){loader->skeleton->maps.slots, (void **)&tables->slots};
	list[4] = (struct mapping){loader->skeleton->maps.pads, (void **)&tables->pads};
}

static int map_tables(struct fastpath_loader *loader) {
	struct mapping list[MAPPINGS];

	list_mappings(loader, list);
	for (size_t i = 0; i < MAPPINGS; i++) {
		void *memory =
			mmap(NULL, mapping_size(list[i].map), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(list[i].map), 0);
		if (memory == MAP_FAILED)
			return -errno;
		*list[i].place = memory;
	}
	loader->tables.rings = bpf_map__max_entries(loader->skeleton->maps.pads) / FASTPATH_PAD_RING;
	loader->tables.flows = bpf_map__fd(loader->skeleton->maps.flows);
	loader->tables.node_slots = bpf_map__fd(loader->skeleton->maps.node_slots);
	loader->tables.listeners = bpf_map__fd(loader->skeleton->maps.listeners);
	loader->tables.access = bpf_map__fd(loader->skeleton->maps.access);
	loader->tables.events = bpf_map__fd(loader->skeleton->maps.events);
	loader->tables.peers = bpf_map__fd(loader->skeleton->maps.peers);
	return 0;
}

static void unmap_tables(struct fastpath_loader *loader) {
	struct mapping list[MAPPINGS];

	list_mappings(loader, list);
	for (size_t i = 0; i < MAPPINGS; i++)
		if (*list[i].place)
			munmap(*list[i].place, mapping_size(list[i].map));
}

/* ---- pins ---- */

static bool pinned_fits(pins_map map, void *userdata) {
	_cleanup_close_ int control = map(userdata, "control");
	struct fastpath_control value = {0};
	uint32_t zero = 0;

	return control >= 0 && bpf_map_lookup_elem(control, &zero, &value) == 0 && value.version == FASTPATH_VERSION;
}

/* The directory, and what is in it. Without one everything works, but ends with the process. */
static int open_pins(struct fastpath_loader *loader, const struct fastpath_loader_settings *settings) {
	if (!settings->pin_directory) {
		explain(loader->pins_reason, "not asked for");
		return 0;
	}
	if (pins_open(settings->pin_directory, &loader->pins, loader->pins_reason) < 0) {
		log_notice("Links of the fast path will not survive a restart: %s.", loader->pins_reason);
		return 0;
	}
	if (settings->fresh)
		pins_clear(loader->pins);
	/* `works` is the storage of one program run: another program may want more or less of it. */
	return pins_adopt(loader->pins, loader->skeleton->obj, "works", pinned_fits, &loader->adopted);
}

/* ---- loading ---- */

static void adopt_ports(struct fastpath_loader *loader);

static int load(struct fastpath_loader *loader, const struct fastpath_loader_settings *settings, char *reason) {
	_cleanup_free_ char *log = calloc(1, VERIFIER_LOG);
	struct bpf_program *program;
	int result;

	if (log)
		bpf_object__for_each_program(program, loader->skeleton->obj) {
			if (program != loader->skeleton->progs.ringgate)
				continue;
			bpf_program__set_log_buf(program, log, VERIFIER_LOG);
			bpf_program__set_log_level(program, settings->verbose ? 4 : 0);
		}
	result = ringgate_bpf__load(loader->skeleton);
	if (result == 0) {
		if (log && settings->verbose)
			log_debug("verifier: %s", log);
		return 0;
	}
	if (result == -EPERM) {
		explain(reason, "no privileges to load kernel programs (CAP_BPF, CAP_NET_ADMIN)");
	} else if (log && log[0]) {
		size_t length = strlen(log);
		explain(reason, "the verifier of this kernel refuses the program");
		log_notice("verifier: %s", log + (length > LOG_TAIL ? length - LOG_TAIL : 0));
	} else {
		explain(reason, "the kernel programs cannot be loaded: %s", strerror(-result));
	}
	return result;
}

/*
 * Makes sure that all of it outlives us. The version comes last: without it what is pinned is not finished. The old program runs on
 * until every place where its successor will look is filled.
 */
static int keep(struct fastpath_loader *loader, char *reason) {
	int result = loader->pins ? pins_keep(loader->pins, loader->skeleton->obj, reason) : 0;

	if (result < 0) {
		pins_clear(loader->pins);
		return result;
	}
	if (loader->adopted)
		adopt_ports(loader);
	__atomic_store_n(&loader->tables.control->version, FASTPATH_VERSION, __ATOMIC_RELEASE);
	return 0;
}

static int start(struct fastpath_loader *loader, const struct fastpath_loader_settings *settings, char *reason) {
	uint32_t rings = settings->rings ? settings->rings : FASTPATH_RINGS_DEFAULT;
	int result;

	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0) {
		explain(reason, "this kernel has no BTF");
		return -EOPNOTSUPP;
	}
	loader->skeleton = ringgate_bpf__open();
	if (!loader->skeleton) {
		explain(reason, "the kernel programs cannot be read: %s", strerror(errno));
		return -errno;
	}
	result = bpf_map__set_max_entries(loader->skeleton->maps.pads, rings * FASTPATH_PAD_RING);
	if (result == 0)
		result = open_pins(loader, settings);
	if (result < 0)
		explain(reason, "the maps of a former daemon cannot be opened: %s", strerror(-result));
	else
		result = load(loader, settings, reason);
	if (result < 0)
		return result;
	result = map_tables(loader);
	if (result < 0) {
		explain(reason, "the tables cannot be mapped: %s", strerror(-result));
		return result;
	}
	if (!loader->adopted) {
		for (uint32_t i = 0; i < LAYOUT_SLOTS_MAX; i++)
			loader->tables.slots[i].rx_ring = loader->tables.slots[i].tx_ring = FASTPATH_RING_NONE;
		loader->tables.control->forward_until_ns = UINT64_MAX;
	}
	return keep(loader, reason);
}

int fastpath_loader_new(const struct fastpath_loader_settings *settings, struct fastpath_loader **ret,
			char reason[static FASTPATH_REASON_SIZE]) {
	_cleanup_(fastpath_loader_freep) struct fastpath_loader *loader = calloc(1, sizeof(*loader));

	explain(reason, "out of memory");
	if (!loader)
		return -ENOMEM;
	for (size_t i = 0; i < FASTPATH_PORTS_MAX; i++)
		loader->ports[i].link = -1;
	libbpf_set_print(print_library);
	int result = start(loader, settings, reason);
	if (result < 0)
		return result;
	reason[0] = '\0';
	*ret = TAKE(loader);
	return 0;
}

struct fastpath_loader *fastpath_loader_free(struct fastpath_loader *loader) {
	if (!loader)
		return NULL;
	for (size_t i = 0; i < FASTPATH_PORTS_MAX; i++)
		if (loader->ports[i].link >= 0)
			close(loader->ports[i].link);
	if (loader->skeleton)
		unmap_tables(loader);
	ringgate_bpf__destroy(loader->skeleton);
	pins_close(loader->pins);
	free(loader);
	return NULL;
}

bool fastpath_loader_adopted(const struct fastpath_loader *loader) {
	return loader->adopted;
}

const char *fastpath_loader_pins(const struct fastpath_loader *loader, const char **ret_reason) {
	*ret_reason = loader->pins_reason;
	return loader->pins ? pins_directory(loader->pins) : NULL;
}

struct fastpath_tables *fastpath_loader_tables(struct fastpath_loader *loader) {
	return &loader->tables;
}

int fastpath_loader_program(const struct fastpath_loader *loader) {
	return bpf_program__fd(loader->skeleton->progs.ringgate);
}

int fastpath_loader_map(const struct fastpath_loader *loader, const char *name) {
	return bpf_object__find_map_fd_by_name(loader->skeleton->obj, name);
}

/* ---- interfaces ---- */

static struct port *port_of(const struct fastpath_loader *loader, unsigned ifindex) {
	for (size_t i = 0; i < FASTPATH_PORTS_MAX; i++)
		if (ifindex != 0 && loader->ports[i].ifindex == ifindex)
			return (struct port *)&loader->ports[i];
	return NULL;
}

/* The map of the two devices `a` and `b`, which both run the egress program. */
static int make_pair(struct fastpath_loader *loader, uint32_t a, uint32_t b) {
	LIBBPF_OPTS(bpf_map_create_opts, options);
	_cleanup_close_ int pair = bpf_map_create(BPF_MAP_TYPE_DEVMAP, "pair", 4, sizeof(struct bpf_devmap_val), 2, &options);
	uint32_t members[2] = {a, b}, place = a * FASTPATH_PORTS_MAX + b;

	if (pair < 0)
		return -errno;
	for (uint32_t i = 0; i < 2; i++) {
		struct bpf_devmap_val value = {
			.ifindex = loader->ports[members[i]].ifindex,
			.bpf_prog.fd = bpf_program__fd(loader->skeleton->progs.ringgate_egress),
		};
		if (bpf_map_update_elem(pair, &i, &value, BPF_ANY) < 0)
			return -errno;
	}
	return bpf_map_update_elem(bpf_map__fd(loader->skeleton->maps.pairs), &place, &pair, BPF_ANY) < 0 ? -errno : 0;
}

static int join_port(struct fastpath_loader *loader, uint32_t port) {
	struct bpf_devmap_val value = {
		.ifindex = loader->ports[port].ifindex,
		/* As in the pairs: one queue of a device takes one program (bq_enqueue() of the kernel). */
		.bpf_prog.fd = bpf_program__fd(loader->skeleton->progs.ringgate_egress),
	};

	if (bpf_map_update_elem(bpf_map__fd(loader->skeleton->maps.ports), &port, &value, BPF_ANY) < 0)
		return -errno;
	for (uint32_t i = 0; i < FASTPATH_PORTS_MAX; i++) {
		if (loader->ports[i].ifindex == 0 || loader->ports[i].mode != FASTPATH_MODE_NATIVE)
			continue;
		int result = make_pair(loader, port, i);
		if (result == 0 && i != port)
			result = make_pair(loader, i, port);
		if (result < 0)
			return result;
	}
	return 0;
}

static void leave_port(struct fastpath_loader *loader, uint32_t port) {
	bpf_map_delete_elem(bpf_map__fd(loader->skeleton->maps.ports), &port);
	for (uint32_t i = 0; i < FASTPATH_PORTS_MAX; i++) {
		uint32_t places[] = {port * FASTPATH_PORTS_MAX + i, i * FASTPATH_PORTS_MAX + port};

		for (size_t j = 0; j < ARRAY_LENGTH(places); j++)
			bpf_map_delete_elem(bpf_map__fd(loader->skeleton->maps.pairs), &places[j]);
	}
}

static int attach_mode(const struct fastpath_loader *loader, unsigned ifindex, uint32_t flags) {
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = flags);
	int link = bpf_link_create(fastpath_loader_program(loader), (int)ifindex, BPF_XDP, &options);

	return link < 0 ? -errno : link;
}

static int attach(struct fastpath_loader *loader, struct port *port, bool allow_generic, char *reason) {
	int native, generic;

	native = attach_mode(loader, port->ifindex, XDP_FLAGS_DRV_MODE);
	if (native >= 0) {
		port->link = native;
		port->mode = FASTPATH_MODE_NATIVE;
		explain(reason, "the driver runs it");
	} else if (!allow_generic) {
		explain(reason, "the driver does not take it: %s", strerror(-native));
		return -EOPNOTSUPP;
	} else {
		generic = attach_mode(loader, port->ifindex, XDP_FLAGS_SKB_MODE);
		if (generic < 0) {
			explain(reason, "the driver does not take it: %s; nor generically: %s", strerror(-native),
				strerror(-generic));
			return -EOPNOTSUPP;
		}
		port->link = generic;
		port->mode = FASTPATH_MODE_GENERIC;
		explain(reason, "shield only, the driver does not take it: %s", strerror(-native));
	}
	int error = loader->pins ? pins_link_keep(loader->pins, port->ifindex, port->link) : 0;
	if (error < 0)
		log_warning("The fast path on interface %u will not survive a restart: %s.", port->ifindex, strerror(-error));
	return 0;
}

/* The interface of a former run keeps its number, which hops in the slots name; its link gets the program of this run. */
static int adopt_port(struct fastpath_loader *loader, uint32_t number) {
	struct bpf_xdp_query_opts query = {.sz = sizeof(query)};
	unsigned ifindex = loader->tables.control->ports[number];
	int link = pins_link(loader->pins, ifindex);

	if (link < 0)
		return link;
	bool generic = bpf_xdp_query((int)ifindex, 0, &query) == 0 && query.attach_mode == XDP_ATTACHED_SKB;
	loader->ports[number] = (struct port){.ifindex = ifindex,
					      .link = link,
					      .mode = generic ? FASTPATH_MODE_GENERIC : FASTPATH_MODE_NATIVE,
					      .unclaimed = true};
	return generic ? 0 : join_port(loader, number);
}

static void adopt_ports(struct fastpath_loader *loader) {
	uint32_t *known = loader->tables.control->ports;

	for (uint32_t number = 0; number < FASTPATH_PORTS_MAX; number++)
		if (known[number] != 0 && adopt_port(loader, number) < 0) {
			leave_port(loader, number);
			known[number] = 0;
		}
	/* From one packet to the next the new program stands in for the old one. */
	for (uint32_t number = 0; number < FASTPATH_PORTS_MAX; number++) {
		struct port *port = &loader->ports[number];
		if (port->ifindex == 0)
			continue;
		if (bpf_link_update(port->link, fastpath_loader_program(loader), NULL) < 0)
			fastpath_loader_detach(loader, port->ifindex);
	}
}

size_t fastpath_loader_ports(const struct fastpath_loader *loader, unsigned out[static FASTPATH_PORTS_MAX]) {
	size_t count = 0;

	for (size_t i = 0; i < FASTPATH_PORTS_MAX; i++)
		if (loader->ports[i].ifindex != 0)
			out[count++] = loader->ports[i].ifindex;
	return count;
}

int fastpath_loader_attach(struct fastpath_loader *loader, unsigned ifindex, bool allow_generic, uint8_t *ret_port,
			   enum fastpath_mode *ret_mode, char reason[static FASTPATH_REASON_SIZE]) {
	uint32_t number = 0;
	struct port *port = port_of(loader, ifindex);
	int result;

	if (port && port->unclaimed) {
		port->unclaimed = false;
		explain(reason, "adopted");
		*ret_port = (uint8_t)(port - loader->ports);
		*ret_mode = port->mode;
		return 0;
	}
	if (port) {
		explain(reason, "attached already");
		return -EEXIST;
	}
	while (number < FASTPATH_PORTS_MAX && loader->ports[number].ifindex != 0)
		number++;
	if (number == FASTPATH_PORTS_MAX) {
		explain(reason, "more than %d interfaces", FASTPATH_PORTS_MAX);
		return -ENOSPC;
	}
	port = &loader->ports[number];
	*port = (struct port){.ifindex = ifindex, .link = -1};
	loader->tables.control->ports[number] = ifindex;
	result = attach(loader, port, allow_generic, reason);
	if (result == 0 && port->mode == FASTPATH_MODE_NATIVE) {
		result = join_port(loader, number);
		if (result < 0)
			explain(reason, "the interface cannot be a target of redirection: %s", strerror(-result));
	}
	if (result < 0) {
		fastpath_loader_detach(loader, ifindex);
		return result;
	}
	*ret_port = (uint8_t)number;
	*ret_mode = port->mode;
	return 0;
}

int fastpath_loader_detach(struct fastpath_loader *loader, unsigned ifindex) {
	struct port *port = port_of(loader, ifindex);

	if (!port)
		return -ENOENT;
	leave_port(loader, (uint32_t)(port - loader->ports));
	loader->tables.control->ports[port - loader->ports] = 0;
	if (loader->pins)
		pins_link_remove(loader->pins, ifindex);
	if (port->link >= 0)
		close(port->link);
	*port = (struct port){.link = -1};
	return 0;
}

enum fastpath_mode fastpath_loader_mode(const struct fastpath_loader *loader, unsigned ifindex) {
	const struct port *port = port_of(loader, ifindex);

	return port ? port->mode : FASTPATH_MODE_OFF;
}

void fastpath_loader_unpin(struct fastpath_loader *loader) {
	for (size_t i = 0; i < FASTPATH_PORTS_MAX; i++)
		if (loader->ports[i].ifindex != 0)
			fastpath_loader_detach(loader, loader->ports[i].ifindex);
	if (!loader->pins)
		return;
	pins_clear(loader->pins);
	rmdir(pins_directory(loader->pins));
	loader->pins = pins_close(loader->pins);
	explain(loader->pins_reason, "removed");
}

/* ---- counters ---- */

/* Adds up the copies of all CPUs of a value that is nothing but 64-bit counters. */
static int sum_counters(const struct bpf_map *map, uint32_t key, uint64_t *ret, size_t count) {
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ uint64_t *values = cpus > 0 ? calloc((size_t)cpus * count, sizeof(*values)) : NULL;

	if (!values)
		return cpus > 0 ? -ENOMEM : cpus;
	if (bpf_map_lookup_elem(bpf_map__fd(map), &key, values) < 0)
		return -errno;
	memset(ret, 0, count * sizeof(*ret));
	for (size_t i = 0; i < (size_t)cpus * count; i++)
		ret[i % count] += values[i];
	return 0;
}

int fastpath_loader_counters(const struct fastpath_loader *loader, struct fastpath_counters *ret) {
	return sum_counters(loader->skeleton->maps.counters, 0, (uint64_t *)ret, sizeof(*ret) / sizeof(uint64_t));
}

int fastpath_loader_link_counters(const struct fastpath_loader *loader, uint16_t slot, struct fastpath_link_counters *ret) {
	return sum_counters(loader->skeleton->maps.link_counters, slot, (uint64_t *)ret, sizeof(*ret) / sizeof(uint64_t));
}
