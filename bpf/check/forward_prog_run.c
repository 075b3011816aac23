/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs the cases of tests/support/forward_cases.c through bpf/check/forward_check.bpf.c with BPF_PROG_RUN: the kernel must decide
 * and edit octet for octet as userspace does, or leave the message to it.
 */
#include "forward_work.h"
#include "support/forward_cases.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PACKET_MIN = 14, TIMING_ROUNDS = 200000 };

struct check_input {
	struct forward_node node;
	struct forward_link arrival;
	uint32_t input_flags;
	uint32_t reserved;
};

struct program {
	struct bpf_object *object;
	int run, inputs, links, nodes, routes, works;
	size_t work_size;
};

static int map_of(const struct program *p, const char *name) {
	return bpf_object__find_map_fd_by_name(p->object, name);
}

static int program_load(struct program *p, const char *path) {
	p->object = bpf_object__open_file(path, NULL);
	if (!p->object || bpf_object__load(p->object) < 0)
		return -1;
	p->run = bpf_program__fd(bpf_object__find_program_by_name(p->object, "forward_check"));
	p->inputs = map_of(p, "inputs");
	p->links = map_of(p, "links");
	p->nodes = map_of(p, "nodes");
	p->routes = map_of(p, "routes");
	p->works = map_of(p, "works");
	p->work_size = bpf_map__value_size(bpf_object__find_map_by_name(p->object, "works"));
	return 0;
}

static int program_set_tables(const struct program *p, const struct forward_case *c) {
	struct check_input input = {
		.node = forward_case_node(c), .arrival = forward_case_arrival(c), .input_flags = c->own ? FORWARD_OWN : 0};
	struct forward_link links[FORWARD_CASE_SLOTS], none = {0};
	struct forward_route routes[FORWARD_CASE_ROUTES];
	struct forward_case all = {.row = ""};
	uint32_t zero = 0;

	size_t count = forward_case_links(&all, links);
	for (size_t i = 0; i < count; i++) {
		uint32_t slot = links[i].slot;
		bpf_map_update_elem(p->links, &slot, &none, BPF_ANY);
		bpf_map_delete_elem(p->nodes, &links[i].id);
	}
	count = forward_case_links(c, links);
	for (size_t i = 0; i < count; i++) {
		uint32_t slot = links[i].slot, place = slot + 1;
		if (bpf_map_update_elem(p->links, &slot, &links[i], BPF_ANY) < 0)
			return -1;
		if (links[i].flags & FORWARD_LINK_BOUND && bpf_map_update_elem(p->nodes, &links[i].id, &place, BPF_ANY) < 0)
			return -1;
	}
	count = forward_case_routes(c, routes);
	for (uint32_t i = 0; i < count; i++)
		if (bpf_map_update_elem(p->routes, &i, &routes[i], BPF_ANY) < 0)
			return -1;
	return bpf_map_update_elem(p->inputs, &zero, &input, BPF_ANY);
}

static size_t works_size(const struct program *p) {
	return (size_t)libbpf_num_possible_cpus() * ((p->work_size + 7) / 8 * 8);
}

/* Fills the working storage of every CPU with what no verdict looks like. */
static int program_clear(const struct program *p) {
	uint8_t *works = malloc(works_size(p));
	uint32_t zero = 0;
	int r = -1;

	if (works) {
		memset(works, 0xa5, works_size(p));
		r = bpf_map_update_elem(p->works, &zero, works, BPF_ANY);
	}
	free(works);
	return r;
}

static bool verdict_matches(const struct forward_verdict *verdict, const struct forward_case *c, uint8_t action) {
	if (verdict->action != action || action == FORWARD_PUNT)
		return verdict->action == action;
	return verdict->reason == c->reason && verdict->error_code == c->error_code && verdict->flags == c->flags &&
	       verdict->popped == c->popped && verdict->slot == c->slot;
}

/* The program ran on one CPU, whichever; the storage of the others was cleared. */
static bool program_verdict_is(const struct program *p, const struct forward_case *c, uint8_t action) {
	size_t stride = (p->work_size + 7) / 8 * 8;
	uint8_t *works = calloc(1, works_size(p));
	uint32_t zero = 0;
	bool found = false;

	if (works && bpf_map_lookup_elem(p->works, &zero, works) == 0)
		for (size_t at = 0; at < works_size(p); at += stride) {
			struct forward_verdict verdict;
			memcpy(&verdict, works + at + offsetof(struct forward_work, verdict), sizeof(verdict));
			found |= verdict_matches(&verdict, c, action);
		}
	free(works);
	return found;
}

static int run_case(const struct program *p, const struct forward_case *c) {
	static uint8_t in[FORWARD_CASE_OCTETS], out[FORWARD_CASE_OCTETS], expected[FORWARD_CASE_OCTETS];
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = in, .data_out = out, .data_size_out = sizeof(out), .repeat = 1);
	uint8_t action = c->fast_punts ? FORWARD_PUNT : c->action;
	uint32_t code = XDP_PASS;

	options.data_size_in = (uint32_t)forward_case_build(c, in);
	if (options.data_size_in < PACKET_MIN)
		return 0;
	if (program_set_tables(p, c) < 0 || program_clear(p) < 0 || bpf_prog_test_run_opts(p->run, &options) < 0) {
		fprintf(stderr, "%s %s: cannot be run\n", c->row, c->text);
		return -1;
	}
	if (action == FORWARD_SEND)
		code = XDP_TX;
	else if (action == FORWARD_DROP && c->error_code == 0 && !(c->flags & FORWARD_CLOSE_LINK))
		code = XDP_DROP;
	if (options.retval != code || !program_verdict_is(p, c, action)) {
		fprintf(stderr, "%s %s: returned %u, expected %u\n", c->row, c->text, options.retval, code);
		return -1;
	}
	if (action != FORWARD_SEND)
		return 0;
	size_t length = forward_case_build_out(c, expected);
	if (options.data_size_out != length || memcmp(out, expected, length) != 0) {
		fprintf(stderr, "%s %s: other octets\n", c->row, c->text);
		return -1;
	}
	return 0;
}

/* Not a test: what the decision costs, for those who watch it. */
static void print_time(const struct program *p, const char *text, const struct forward_message *message) {
	static uint8_t in[FORWARD_CASE_OCTETS];
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = in, .repeat = TIMING_ROUNDS);
	struct forward_case c = {.in = *message};

	options.data_size_in = (uint32_t)forward_case_build(&c, in);
	/* XDP_DROP and XDP_PASS leave the packet as it is, so that every round sees the same one */
	if (program_set_tables(p, &c) == 0 && bpf_prog_test_run_opts(p->run, &options) == 0)
		printf("# %s: %u ns\n", text, options.duration);
}

int main(int argc, char **argv) {
	struct program p = {0};
	size_t failures = 0;

	if (argc != 2 || program_load(&p, argv[1]) < 0) {
		fprintf(stderr, "usage: %s OBJECT (and it must load)\n", argv[0]);
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < forward_case_count; i++)
		failures += run_case(&p, &forward_cases[i]) < 0;
	printf("# %zu cases, %zu failures\n", forward_case_count, failures);
	print_time(&p, "request for us, 300 octets",
		   &(struct forward_message){.ttl = 9, .code = 9, .destinations = "n80", .size = 300});
	print_time(
		&p, "node of ours that is not there",
		&(struct forward_message){.ttl = 9, .code = 9, .via = "o1.002 o1.003 o1.004", .destinations = "n77", .size = 300});
	print_time(&p, "answer, stale opaque",
		   &(struct forward_message){.ttl = 9, .code = 10, .destinations = "n80 o0.001 o1.002 o1.003", .size = 300});
	bpf_object__close(p.object);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
