/* SPDX-License-Identifier: BSD-2-Clause */
#include "fastpath/loader.h"

#include "base/log.h"
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
};

struct fastpath_loader {
	struct ringgate_bpf *skeleton;
	struct fastpath_tables tables;
	char *directory;
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

static const char *pin_path(const struct fastpath_loader *loader, const char *name, char path[static PATH_MAX]) {
	snprintf(path, PATH_MAX, "%s/%s", loader->directory, name);
	return path;
}

static const char *link_path(const struct fastpath_loader *loader, unsigned ifindex, char path[static PATH_MAX]) {
	snprintf(path, PATH_MAX, "%s/link-%u", loader->directory, ifindex);
	return path;
}

/* The layout of what is pinned, 0: nothing is, or it cannot be read. */
static uint32_t pinned_version(const struct fastpath_loader *loader, uint32_t *ret_rings) {
	_cleanup_close_ int control = -1, pads = -1;
	struct fastpath_control value = {0};
	struct bpf_map_info info = {0};
	uint32_t zero = 0, size = sizeof(info);
	char path[PATH_MAX];

	control = bpf_obj_get(pin_path(loader, "control", path));
	pads = bpf_obj_get(pin_path(loader, "pads", path));
	if (control < 0 || pads < 0 || bpf_obj_get_info_by_fd(control, &info, &size) < 0 || info.value_size != sizeof(value) ||
	    bpf_map_lookup_elem(control, &zero, &value) < 0)
		return 0;
	size = sizeof(info);
	memset(&info, 0, sizeof(info));
	if (bpf_obj_get_info_by_fd(pads, &info, &size) < 0 || info.value_size != sizeof(struct fastpath_pad))
		return 0;
	*ret_rings = info.max_entries / FASTPATH_PAD_RING;
	return value.version;
}

/* Maps of devices are made anew with every program: interfaces are attached anew as well. */
static const char *const pinned_names[] = {"control",	"settings", "routes",	"slots",    "pads",	     "flows", "node_slots",
					   "listeners", "access",   "prefixes", "counters", "link_counters", "events"};

static void remove_pins(struct fastpath_loader *loader) {
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LENGTH(pinned_names); i++)
		unlink(pin_path(loader, pinned_names[i], path));
}

/* Maps that are pinned already are reused by libbpf, the others are made and pinned while loading. */
static int choose_pins(struct fastpath_loader *loader, uint32_t rings, char *reason) {
	uint32_t version, pinned_rings = 0;
	struct bpf_map *map;
	char path[PATH_MAX];

	if (mkdir(loader->directory, 0700) < 0 && errno != EEXIST) {
		int result = -errno;
		explain(reason, "cannot make %s: %s", loader->directory, strerror(errno));
		return result;
	}
	version = pinned_version(loader, &pinned_rings);
	loader->adopted = version == FASTPATH_VERSION && pinned_rings == rings;
	if (!loader->adopted)
		remove_pins(loader);
	for (size_t i = 0; i < ARRAY_LENGTH(pinned_names); i++) {
		map = bpf_object__find_map_by_name(loader->skeleton->obj, pinned_names[i]);
		int result = map ? bpf_map__set_pin_path(map, pin_path(loader, pinned_names[i], path)) : -ENOENT;
		if (result < 0) {
			explain(reason, "map %s cannot be pinned", pinned_names[i]);
			return result;
		}
	}
	return 0;
}

/* ---- loading ---- */

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
	if (result == 0 && loader->directory)
		result = choose_pins(loader, rings, reason);
	if (result == 0)
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
		loader->tables.control->version = FASTPATH_VERSION;
	}
	return 0;
}

int fastpath_loader_new(const struct fastpath_loader_settings *settings, struct fastpath_loader **ret,
			char reason[static FASTPATH_REASON_SIZE]) {
	_cleanup_(fastpath_loader_freep) struct fastpath_loader *loader = calloc(1, sizeof(*loader));

	explain(reason, "out of memory");
	if (!loader)
		return -ENOMEM;
	for (size_t i = 0; i < FASTPATH_PORTS_MAX; i++)
		loader->ports[i].link = -1;
	if (settings->pin_directory) {
		loader->directory = strdup(settings->pin_directory);
		if (!loader->directory)
			return -ENOMEM;
	}
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
	free(loader->directory);
	free(loader);
	return NULL;
}

bool fastpath_loader_adopted(const struct fastpath_loader *loader) {
	return loader->adopted;
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
	struct bpf_devmap_val value = {.ifindex = loader->ports[port].ifindex, .bpf_prog.fd = -1};

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

/* A link that a former run pinned gets the program of this one. */
static int adopt_link(struct fastpath_loader *loader, struct port *port) {
	char path[PATH_MAX];
	int link;

	if (!loader->directory)
		return -ENOENT;
	link = bpf_obj_get(link_path(loader, port->ifindex, path));
	if (link < 0)
		return -errno;
	if (bpf_link_update(link, fastpath_loader_program(loader), NULL) < 0) {
		int result = -errno;
		close(link);
		unlink(path); /* its interface is gone, or another one by now */
		return result;
	}
	port->link = link;
	struct bpf_xdp_query_opts query = {.sz = sizeof(query)};
	port->mode = bpf_xdp_query((int)port->ifindex, 0, &query) == 0 && query.attach_mode == XDP_ATTACHED_SKB
			     ? FASTPATH_MODE_GENERIC
			     : FASTPATH_MODE_NATIVE;
	return 0;
}

static int attach(struct fastpath_loader *loader, struct port *port, bool allow_generic, char *reason) {
	char path[PATH_MAX];
	int native, generic;

	if (adopt_link(loader, port) == 0) {
		explain(reason, "adopted");
		return 0;
	}
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
	if (loader->directory && bpf_obj_pin(port->link, link_path(loader, port->ifindex, path)) < 0)
		log_warning("cannot pin %s: %s", path, strerror(errno));
	return 0;
}

int fastpath_loader_attach(struct fastpath_loader *loader, unsigned ifindex, bool allow_generic, uint8_t *ret_port,
			   enum fastpath_mode *ret_mode, char reason[static FASTPATH_REASON_SIZE]) {
	uint32_t number = 0;
	int result;

	if (fastpath_loader_mode(loader, ifindex) != FASTPATH_MODE_OFF) {
		explain(reason, "attached already");
		return -EEXIST;
	}
	while (number < FASTPATH_PORTS_MAX && loader->ports[number].ifindex != 0)
		number++;
	if (number == FASTPATH_PORTS_MAX) {
		explain(reason, "more than %d interfaces", FASTPATH_PORTS_MAX);
		return -ENOSPC;
	}
	struct port *port = &loader->ports[number];
	*port = (struct port){.ifindex = ifindex, .link = -1};
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

static struct port *port_of(const struct fastpath_loader *loader, unsigned ifindex) {
	for (size_t i = 0; i < FASTPATH_PORTS_MAX; i++)
		if (ifindex != 0 && loader->ports[i].ifindex == ifindex)
			return (struct port *)&loader->ports[i];
	return NULL;
}

int fastpath_loader_detach(struct fastpath_loader *loader, unsigned ifindex) {
	struct port *port = port_of(loader, ifindex);
	char path[PATH_MAX];

	if (!port)
		return -ENOENT;
	leave_port(loader, (uint32_t)(port - loader->ports));
	if (loader->directory)
		unlink(link_path(loader, ifindex, path));
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
	if (loader->directory) {
		remove_pins(loader);
		rmdir(loader->directory);
	}
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
