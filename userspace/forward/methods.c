/* SPDX-License-Identifier: BSD-2-Clause */
/* The methods every node answers without a usage behind them: Ping, Probe, and AppAttach for applications nobody offers. */
#include "forward/internal.h"

/* B-6.5.3-01 */
static void on_ping(void *userdata, struct request *request) {
	struct router *router = userdata;
	struct octets padding;
	uint8_t body[16];

	if (ping_req_read(request->message.contents.body, &padding) < 0) {
		request_fail_text(request, ERROR_INVALID_MESSAGE, "The PingReq does not parse.");
		return;
	}
	struct ping_ans ping = {.time_ms = runtime_realtime_ms(router->runtime)};
	runtime_random(router->runtime, &ping.response_id, sizeof(ping.response_id));
	struct writer w = writer_fixed(body, sizeof(body));
	ping_ans_write(&w, &ping);
	request_answer(request, writer_octets_written(&w), NULL);
}

/* Our share of the ring in parts per billion. */
static uint32_t responsible_ppb(const struct router *router) {
	const uint32_t whole = 1000000000;

	if (!router_joined(router))
		return 0;
	if (id_is_none(&router->predecessor) || id_equal(&router->predecessor, &router->self))
		return whole;
	struct id range = id_subtract(&router->self, &router->predecessor);
	struct forward_id number = forward_id_of(&range);
	return (uint32_t)((unsigned __int128)number.high * whole >> 64);
}

static uint32_t uptime_s(const struct router *router) {
	uint64_t seconds = (router->runtime->now_us - router->started_us) / USEC_PER_SEC;

	return seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
}

/* Every requested item we know, once, in the order of the request (B-6.4.2.5-01). */
static void on_probe(void *userdata, struct request *request) {
	struct router *router = userdata;
	struct probe_req probe;
	uint8_t body[64];
	bool given[PROBE_UPTIME + 1] = {false};

	if (probe_req_read(request->message.contents.body, &probe) < 0) {
		request_fail_text(request, ERROR_INVALID_MESSAGE, "The ProbeReq does not parse.");
		return;
	}
	struct writer w = writer_fixed(body, sizeof(body));
	struct reader items = reader_of_octets(probe.requested_info);
	size_t mark = writer_begin(&w, 2);
	while (reader_more(&items)) {
		uint8_t type = reader_u8(&items);
		if (type < PROBE_RESPONSIBLE_SET || type > PROBE_UPTIME || given[type])
			continue;
		given[type] = true;
		uint32_t value = type == PROBE_RESPONSIBLE_SET ? responsible_ppb(router)
				 : type == PROBE_UPTIME	       ? uptime_s(router)
				 : router->probe_resources     ? router->probe_resources(router->probe_userdata)
							       : 0;
		probe_information_write(&w, type, value);
	}
	writer_end(&w, mark, 2);
	request_answer(request, writer_octets_written(&w), NULL);
}

/* B-6.5.2-01 */
static void on_app_attach(void *userdata, struct request *request) {
	struct attach_req_ans attach;

	(void)userdata;
	if (app_attach_read(request->message.contents.body, &attach) < 0)
		request_fail_text(request, ERROR_INVALID_MESSAGE, "The AppAttachReq does not parse.");
	else
		request_fail_text(request, ERROR_NOT_FOUND, "Application %u is not offered here.", attach.application);
}

void router_set_probe_resources(struct router *router, uint32_t (*count)(void *userdata), void *userdata) {
	router->probe_resources = count;
	router->probe_userdata = userdata;
}

void methods_init(struct router *router) {
	router_handle(router, PING_REQ, on_ping, router);
	router_handle(router, PROBE_REQ, on_probe, router);
	router_handle(router, APP_ATTACH_REQ, on_app_attach, router);
}
