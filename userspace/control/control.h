/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: one JSON object per line in, one per line out.
 *
 *     {"command": "status"}                    → {"ok": true, "result": {…}}
 *     {"command": "fetch", "name": "…", …}     → {"ok": false, "error": "One sentence."}
 *
 * Requests of one connection are answered in any order; a "tag" in a request comes back in its answer. Only root and the group of
 * the socket reach it.
 */
#pragma once

#include "node/node.h"

#include <jansson.h>

enum {
	CONTROL_REQUESTS_MAX = 256,	  /* open at once on one connection; more are refused */
	CONTROL_OUTPUT_MAX = 16 << 20,	  /* octets of answers a client does not read; more: it is closed */
	CONTROL_REGISTRATIONS_MAX = 1000, /* in one answer, and the rest of one user's; its "after" says how to go on */
	METRICS_CLIENTS_MAX = 8,	  /* HTTP connections; more are closed at once */
	METRICS_REQUEST_MAX = 4096,	  /* octets of a request; longer: closed */
	METRICS_SECONDS = 10,		  /* for one request with its answer; then closed */
};

struct control;
struct control_request;

int control_new(struct node *node, struct control **ret, char reason[static NODE_REASON_SIZE]);
struct control *control_free(struct control *control);
DEFINE_CLEANUP(struct control *, control_free)

/* ---- for the commands ---- */

typedef void (*control_handler)(struct control_request *request);
struct control_command {
	const char *name;
	control_handler handle;
};
extern const struct control_command control_status_commands[], control_overlay_commands[], control_fastpath_commands[],
	control_configuration_commands[], control_sip_commands[]; /* end with a NULL name */

struct node *control_node(const struct control_request *request);
json_t *control_arguments(const struct control_request *request); /* borrowed */

/* Text of one argument; NULL when absent or not a string. */
const char *control_argument(const struct control_request *request, const char *name);

/* Text that may hold anything as a JSON string: what is not UTF-8 loses its octets above 127. NULL without memory. */
json_t *control_text(const char *text);

/* A Node-ID or Resource-ID as hexadecimal digits; null for ID_NONE. */
json_t *control_id(const struct id *id);

/* Each ends the request. `result` is stolen; NULL means that there was no memory for it. */
void control_answer(struct control_request *request, json_t *result);
void control_fail(struct control_request *request, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Called after every round of events until it has ended the request, or until `seconds` are over: then the request fails with a
 * sentence that names `what`. */
typedef void (*control_condition)(struct control_request *request);
void control_wait(struct control_request *request, control_condition condition, const char *what, unsigned seconds);

/* Then `otherwise` ends it instead. */
void control_wait_otherwise(struct control_request *request, control_handler otherwise);

/* What the kernel fast path counted, zero without it. */
struct fastpath_counters control_kernel_counters(const struct node *node);

/* Prometheus text of everything the node counts; the caller frees. NULL without memory. */
char *control_metrics(struct node *node);

/* ---- metrics over HTTP ---- */

struct metrics_server;
int metrics_server_new(struct node *node, const struct address *listen, struct metrics_server **ret,
		       char reason[static NODE_REASON_SIZE]);
struct metrics_server *metrics_server_free(struct metrics_server *server);
DEFINE_CLEANUP(struct metrics_server *, metrics_server_free)
