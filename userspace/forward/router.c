/* SPDX-License-Identifier: BSD-2-Clause */
/* Life cycle of the router and what can be asked of it. */
#include "forward/internal.h"

int router_new(const struct router_settings *settings, struct router **ret) {
	const struct overlay_config *config = trust_config(settings->trust);

	/* The forwarding decision knows 128-bit identifiers only, as CHORD-RELOAD does. */
	if (config->node_id_length != ID_LENGTH_CHORD || settings->credential->node_id.length != ID_LENGTH_CHORD)
		return -EOPNOTSUPP;
	struct router *router = calloc(1, sizeof(*router));
	if (!router)
		return -ENOMEM;
	router->runtime = settings->runtime;
	router->trust = settings->trust;
	router->credential = credential_ref(settings->credential);
	router->self = settings->credential->node_id;
	router->client = settings->client;
	router->started_us = settings->runtime->now_us;
	runtime_random(router->runtime, router->peer_seed, sizeof(router->peer_seed));
	answer_init(router);
	attach_init(router);
	methods_init(router);
	int error = deliver_init(router);
	if (error == 0)
		error = transit_init(router);
	if (error == 0)
		error = routes_init(router);
	if (error < 0) {
		router_free(router);
		return error;
	}
	*ret = router;
	return 0;
}

void router_shutdown(struct router *router) {
	router->closing = true;
	attach_release(router);
	transaction_release(router);
}

struct router *router_free(struct router *router) {
	if (!router)
		return NULL;
	router_shutdown(router);
	answer_release(router);
	deliver_release(router);
	routes_release(router);
	connection_release(router);
	transit_release(router);
	relay_release(router);
	credential_unref(router->credential);
	free(router);
	return NULL;
}

struct transport_events router_transport_events(struct router *router) {
	return (struct transport_events){
		.userdata = router,
		.up = connection_on_up,
		.down = connection_on_down,
		.suspect = connection_on_suspect,
		.receive = transit_on_receive,
	};
}

void router_set_transport(struct router *router, struct transport transport) {
	router->transport = transport;
}

const struct id *router_node_id(const struct router *router) {
	return &router->self;
}

struct runtime *router_runtime(const struct router *router) {
	return router->runtime;
}

struct transport *router_transport(struct router *router) {
	return &router->transport;
}

struct trust *router_trust(const struct router *router) {
	return router->trust;
}

struct credential *router_credential(const struct router *router) {
	return router->credential;
}

int router_set_credential(struct router *router, struct credential *credential) {
	if (!id_equal(&credential->node_id, &router->self))
		return -EINVAL;
	struct credential *former = router->credential;
	router->credential = credential_ref(credential);
	credential_unref(former);
	return 0;
}

struct overlay_config *router_config(const struct router *router) {
	return trust_config(router->trust);
}

void router_set_configuration_listener(struct router *router, const struct configuration_listener *listener) {
	router->configuration_listener = listener;
}

void router_configuration_changed(struct router *router) {
	const struct overlay_config *config = trust_config(router->trust);

	router->node.overlay = config->overlay_hash;
	router->node.max_message_size = config->max_message_size;
	router->node.initial_ttl = config->initial_ttl;
	reassembly_configure(router->reassembly, config->reliability_timer_ms, config->max_message_size);
	routes_mirror(router);
	for (size_t i = 0; i < router->link_capacity; i++)
		if (router->links[i])
			router->links[i]->noticed_sequence = UINT32_MAX;
}

const struct router_counters *router_counters(const struct router *router) {
	return &router->counters;
}

void router_set_trace(struct router *router, router_trace trace, void *userdata) {
	router->trace = trace;
	router->trace_userdata = userdata;
}
