/* SPDX-License-Identifier: BSD-2-Clause */
#include "sip/sibling.h"
#include "sip/trunk.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { PORT_ATTEMPTS = 16 /* to find a port that is free for UDP and TCP */ };

DEFINE_CLEANUP(struct sip_gateway *, sip_gateway_free)

static int bound_port(int fd, uint16_t *ret) {
	struct sockaddr_storage sockaddr = {0};
	socklen_t length = sizeof(sockaddr);

	if (getsockname(fd, (struct sockaddr *)&sockaddr, &length) < 0)
		return -errno;
	*ret = address_of_sockaddr((const struct sockaddr *)&sockaddr).port;
	return 0;
}

/* A socket of the run before where there is one: what came in between waits in it. */
static int socket_of(const struct sip_gateway_settings *settings, int type, const struct address *address) {
	int fd = settings->inherit ? settings->inherit(settings->inherit_userdata, type, address) : -ENOENT;

	if (fd >= 0)
		return fd;
	return type == SOCK_DGRAM ? sip_udp_open(address) : sip_tcp_open(address);
}

static int listener_try(const struct sip_gateway_settings *settings, struct sip_listener *listener, const struct address *wanted) {
	struct address address = *wanted;

	_cleanup_close_ int udp = socket_of(settings, SOCK_DGRAM, &address);
	if (udp < 0)
		return udp;
	int error = bound_port(udp, &address.port);
	if (error < 0)
		return error;
	int tcp = socket_of(settings, SOCK_STREAM, &address);
	if (tcp < 0)
		return tcp;
	listener->address = address;
	listener->udp = udp;
	listener->tcp = tcp;
	udp = -1;
	return 0;
}

static int listener_open(struct sip_gateway *gateway, const struct sip_gateway_settings *settings, const struct address *address) {
	struct sip_listener *listener = &gateway->listeners[gateway->listener_count];
	int error = -EADDRINUSE;

	for (unsigned i = 0; error == -EADDRINUSE && i < (address->port == 0 ? PORT_ATTEMPTS : 1); i++)
		error = listener_try(settings, listener, address);
	if (error < 0)
		return error;
	listener->gateway = gateway;
	gateway->listener_count++;
	return 0;
}

static int listener_open_secure(struct sip_gateway *gateway, const struct sip_gateway_settings *settings,
				const struct address *address, bool peer) {
	struct sip_listener *listener = &gateway->secure[gateway->secure_count];

	int tcp = socket_of(settings, SOCK_STREAM, address);
	if (tcp < 0)
		return tcp;
	*listener = (struct sip_listener){.gateway = gateway, .address = *address, .udp = -1, .tcp = tcp, .peer = peer};
	gateway->secure_count++;
	return bound_port(tcp, &listener->address.port);
}

static int open_secure(struct sip_gateway *gateway, const struct sip_gateway_settings *settings, char *reason, size_t reason_size) {
	char text[ADDRESS_TEXT_SIZE];

	if (settings->tls_listen_count == 0)
		return 0;
	if (settings->tls_listen_count > SIP_LISTENERS || !settings->tls_certificate || !settings->tls_key) {
		snprintf(reason, reason_size, "SIP over TLS needs a certificate, a key and at most %d addresses", SIP_LISTENERS);
		return -EINVAL;
	}
	int error = sip_tls_new(settings->tls_certificate, settings->tls_key, &gateway->tls, reason, reason_size);
	for (size_t i = 0; error == 0 && i < settings->tls_listen_count; i++) {
		error = listener_open_secure(gateway, settings, &settings->tls_listen[i], false);
		if (error < 0)
			snprintf(reason, reason_size, "cannot listen for SIP over TLS on %s: %s",
				 address_format(&settings->tls_listen[i], text), strerror(-error));
	}
	return error;
}

static int open_peers(struct sip_gateway *gateway, const struct sip_gateway_settings *settings, char *reason, size_t reason_size) {
	char text[ADDRESS_TEXT_SIZE];
	int error = 0;

	if (settings->peer_listen_count > SIP_LISTENERS || (settings->peer_listen_count > 0 && !gateway->events.peer_ssl)) {
		snprintf(reason, reason_size,
			 "SIP over TLS between gateways needs certificates of the overlay and at most %d addresses", SIP_LISTENERS);
		return -EINVAL;
	}
	if (settings->tls_ca_file && !(gateway->tls_ca_file = strdup(settings->tls_ca_file)))
		return -ENOMEM;
	for (size_t i = 0; error == 0 && i < settings->peer_listen_count; i++) {
		error = listener_open_secure(gateway, settings, &settings->peer_listen[i], true);
		if (error < 0)
			snprintf(reason, reason_size, "cannot listen for gateways on %s: %s",
				 address_format(&settings->peer_listen[i], text), strerror(-error));
	}
	return error;
}

static void on_name_socket(void *userdata, int fd, unsigned events) {
	gateway_watch(userdata, fd, events);
}

static int open_names(struct sip_gateway *gateway, const struct sip_gateway_settings *settings, char *reason, size_t reason_size) {
	const struct dns_settings names = {
		.runtime = gateway->runtime, .servers = settings->name_servers, .userdata = gateway, .watch = on_name_socket};

	int error = settings->names ? dns_new(&names, &gateway->dns) : 0;
	if (error < 0)
		snprintf(reason, reason_size, "the name servers %s cannot be used: %s",
			 settings->name_servers ? settings->name_servers : "of /etc/resolv.conf", strerror(-error));
	return error;
}

static int check_settings(const struct sip_gateway *gateway, const struct sip_gateway_settings *settings, char *reason,
			  size_t reason_size) {
	if (settings->listen_count > SIP_LISTENERS) {
		snprintf(reason, reason_size, "more than %d addresses to listen on", SIP_LISTENERS);
		return -E2BIG;
	}
	if (gateway->expires_min_s > gateway->expires_default_s || gateway->expires_default_s > gateway->expires_max_s) {
		snprintf(reason, reason_size, "expiry times out of order: least %u, default %u, most %u seconds",
			 gateway->expires_min_s, gateway->expires_default_s, gateway->expires_max_s);
		return -EINVAL;
	}
	return 0;
}

static void ignore_trace(const char *file, int line, osip_trace_level_t level, const char *format, va_list arguments) {
	(void)file;
	(void)line;
	(void)level;
	(void)format;
	(void)arguments;
}

/* The parser writes its opinion of what it got to the standard output otherwise. */
static void prepare_parser(void) {
	sip_arena_prepare();
	osip_trace_initialize_func(TRACE_LEVEL0, ignore_trace);
	parser_init();
}

int sip_gateway_new(const struct sip_gateway_settings *settings, const struct sip_gateway_events *events, struct sip_gateway **ret,
		    char *reason, size_t reason_size) {
	_cleanup_(sip_gateway_freep) struct sip_gateway *gateway = calloc(1, sizeof(*gateway));
	char text[ADDRESS_TEXT_SIZE];

	if (!gateway)
		return -ENOMEM;
	gateway->runtime = settings->runtime;
	gateway->events = *events;
	gateway->mode = settings->mode;
	gateway->callers = settings->callers;
	gateway->outside_calls = settings->outside_calls || settings->mode == SIP_MODE_REDIRECT_INSIDE;
	gateway->expires_min_s = settings->expires_min_s ? settings->expires_min_s : 60;
	gateway->expires_default_s = settings->expires_default_s ? settings->expires_default_s : 3600;
	gateway->expires_max_s = settings->expires_max_s ? settings->expires_max_s : 86400;
	int error = check_settings(gateway, settings, reason, reason_size);
	if (error < 0)
		return error;
	gateway->datagrams = sip_datagrams_new();
	if (!gateway->datagrams)
		return -ENOMEM;
	prepare_parser();
	runtime_random(gateway->runtime, gateway->hash_key, sizeof(gateway->hash_key));
	runtime_random(gateway->runtime, gateway->merge_hash_key, sizeof(gateway->merge_hash_key));
	runtime_random(gateway->runtime, gateway->tag_key, sizeof(gateway->tag_key));
	runtime_random(gateway->runtime, gateway->dialog_key, sizeof(gateway->dialog_key));
	runtime_random(gateway->runtime, gateway->again_key, sizeof(gateway->again_key));
	if (settings->dialog_key)
		memcpy(gateway->dialog_key, settings->dialog_key, sizeof(gateway->dialog_key));
	gateway->gruu = settings->gruu ? strdup(settings->gruu) : NULL;
	if (settings->gruu && !gateway->gruu)
		return -ENOMEM;
	error = sip_auth_open(gateway, settings->digests);
	if (error < 0) {
		snprintf(reason, reason_size, "none of the digest algorithms can be used: %s", strerror(-error));
		return error;
	}
	sip_overload_open(gateway);
	for (size_t i = 0; i < settings->listen_count; i++) {
		error = listener_open(gateway, settings, &settings->listen[i]);
		if (error < 0) {
			snprintf(reason, reason_size, "cannot listen for SIP on %s: %s", address_format(&settings->listen[i], text),
				 strerror(-error));
			return error;
		}
	}
	error = open_secure(gateway, settings, reason, reason_size);
	if (error == 0)
		error = open_peers(gateway, settings, reason, reason_size);
	if (error == 0)
		error = open_names(gateway, settings, reason, reason_size);
	if (error == 0)
		error = sip_siblings_open(gateway, settings->siblings, settings->sibling_count, reason, reason_size);
	if (error == 0)
		error = sip_trunks_open(gateway, settings->trunks, settings->trunk_count, reason, reason_size);
	if (error < 0)
		return error;
	*ret = TAKE(gateway);
	return 0;
}

struct sip_gateway *sip_gateway_free(struct sip_gateway *gateway) {
	if (!gateway)
		return NULL;
	while (gateway->calls)
		sip_call_orphan(gateway->calls);
	while (gateway->registrations)
		registration_free(gateway->registrations);
	sip_proxies_free(gateway);
	sip_acks_free(gateway);
	sip_trunks_close(gateway);
	gateway->dns = dns_free(gateway->dns);
	sip_strangers_free(gateway);
	sip_clients_free(gateway);
	while (gateway->transactions)
		sip_transaction_free(gateway->transactions);
	while (gateway->connections)
		sip_connection_free(gateway->connections);
	for (size_t i = 0; i < gateway->listener_count; i++) {
		struct sip_listener *listener = &gateway->listeners[i];
		timer_disarm(gateway->runtime, &listener->pause);
		gateway_watch(gateway, listener->udp, 0);
		gateway_watch(gateway, listener->tcp, 0);
		close(listener->udp);
		close(listener->tcp);
	}
	sip_auth_close(gateway);
	sip_overload_close(gateway);
	sip_trace_close(gateway);
	sip_calls_close(gateway);
	for (size_t i = 0; i < gateway->secure_count; i++) {
		timer_disarm(gateway->runtime, &gateway->secure[i].pause);
		gateway_watch(gateway, gateway->secure[i].tcp, 0);
		close(gateway->secure[i].tcp);
	}
	sip_tls_free(gateway->tls);
	SSL_CTX_free(gateway->outside_tls);
	free(gateway->tls_ca_file);
	octets_wipe(gateway->tag_key, sizeof(gateway->tag_key));
	octets_wipe(gateway->dialog_key, sizeof(gateway->dialog_key));
	free(gateway->datagrams);
	free(gateway->gruu);
	free(gateway);
	return NULL;
}

int sip_gateway_address(const struct sip_gateway *gateway, size_t index, struct address *ret) {
	if (index >= gateway->listener_count)
		return -ENOENT;
	*ret = gateway->listeners[index].address;
	return 0;
}

static int secure_address(const struct sip_gateway *gateway, size_t index, bool peer, struct address *ret) {
	for (size_t i = 0; i < gateway->secure_count; i++)
		if (gateway->secure[i].peer == peer && index-- == 0) {
			*ret = gateway->secure[i].address;
			return 0;
		}
	return -ENOENT;
}

int sip_gateway_tls_address(const struct sip_gateway *gateway, size_t index, struct address *ret) {
	return secure_address(gateway, index, false, ret);
}

int sip_gateway_peer_address(const struct sip_gateway *gateway, size_t index, struct address *ret) {
	return secure_address(gateway, index, true, ret);
}

size_t sip_gateway_sockets(const struct sip_gateway *gateway, int *fds, size_t max) {
	size_t count = 0;

	for (size_t i = 0; i < gateway->listener_count && count + 2 <= max; i++) {
		fds[count++] = gateway->listeners[i].udp;
		fds[count++] = gateway->listeners[i].tcp;
	}
	for (size_t i = 0; i < gateway->secure_count && count < max; i++)
		fds[count++] = gateway->secure[i].tcp;
	return count;
}

void gateway_watch(struct sip_gateway *gateway, int fd, unsigned events) {
	if (gateway->watch)
		gateway->watch(gateway->watch_userdata, fd, events);
}

void sip_gateway_set_watch(struct sip_gateway *gateway, sip_watch watch, void *userdata) {
	gateway->watch = watch;
	gateway->watch_userdata = userdata;
	for (size_t i = 0; i < gateway->listener_count; i++) {
		gateway_watch(gateway, gateway->listeners[i].udp, EPOLLIN);
		if (!gateway->listeners[i].pause.armed)
			gateway_watch(gateway, gateway->listeners[i].tcp, EPOLLIN);
	}
	for (size_t i = 0; i < gateway->secure_count; i++)
		if (!gateway->secure[i].pause.armed)
			gateway_watch(gateway, gateway->secure[i].tcp, EPOLLIN);
	if (gateway->dns)
		dns_watch_again(gateway->dns);
	for (struct sip_connection *connection = gateway->connections; connection; connection = connection->hh.next)
		gateway_watch(gateway, connection->flow.fd, connection->watched);
}

void sip_gateway_ready(struct sip_gateway *gateway, int fd, unsigned events) {
	struct sip_connection *connection = NULL;

	for (size_t i = 0; i < gateway->listener_count; i++) {
		struct sip_listener *listener = &gateway->listeners[i];
		if (listener->udp == fd) {
			sip_udp_receive(gateway, listener);
			return;
		}
		if (listener->tcp == fd) {
			sip_tcp_accept(gateway, listener);
			return;
		}
	}
	for (size_t i = 0; i < gateway->secure_count; i++)
		if (gateway->secure[i].tcp == fd) {
			sip_tcp_accept(gateway, &gateway->secure[i]);
			return;
		}
	if (gateway->dns && dns_ready(gateway->dns, fd, events))
		return;
	HASH_FIND_INT(gateway->connections, &fd, connection);
	if (connection)
		sip_tcp_ready(gateway, connection, events);
}

void sip_gateway_figures(const struct sip_gateway *gateway, struct sip_figures *ret) {
	*ret = gateway->figures;
	ret->overloaded = gateway->overload.shedding > 0;
}
