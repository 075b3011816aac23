/* SPDX-License-Identifier: BSD-2-Clause */
#include "sip/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

const char *sip_transport_name(enum sip_transport transport) {
	return transport == SIP_TLS ? "TLS" : transport == SIP_TCP ? "TCP" : "UDP";
}

/* RFC 3261 19.1.1; without the parameter UDP, and TLS for sips. */
int sip_uri_transport(const osip_uri_t *uri, enum sip_transport *ret) {
	const char *text = sip_parameter(&uri->url_params, "transport");
	bool secure = uri_is_secure(uri);

	if (!text || !*text)
		*ret = secure ? SIP_TLS : SIP_UDP;
	else if (strcasecmp(text, "tls") == 0 || (secure && strcasecmp(text, "tcp") == 0))
		*ret = SIP_TLS;
	else if (!secure && strcasecmp(text, "tcp") == 0)
		*ret = SIP_TCP;
	else if (!secure && strcasecmp(text, "udp") == 0)
		*ret = SIP_UDP;
	else
		return -EPROTONOSUPPORT;
	return 0;
}

int sip_uri_port(const osip_uri_t *uri, enum sip_transport transport, uint16_t *ret) {
	uint32_t port = transport == SIP_TLS ? 5061 : 5060;

	if (uri->port && *uri->port && (sip_number_parse(octets_of_string(uri->port), &port) < 0 || port == 0 || port > UINT16_MAX))
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

static bool address_of_host(const char *host, struct address *ret) {
	struct address address = {.family = strchr(host, ':') ? AF_INET6 : AF_INET};

	if (inet_pton(address.family, host, address.octets) != 1)
		return false;
	*ret = address;
	return true;
}

/* Not to groups, not to "this host". */
static bool is_place(const struct address *address) {
	static const uint8_t zero[sizeof(address->octets)];

	if (memcmp(address->octets, zero, sizeof(zero)) == 0)
		return false;
	return address->family == AF_INET ? address->octets[0] != 0 && address->octets[0] < 224 : address->octets[0] != 0xff;
}

/* maddr is not followed: who writes a URI shall not choose a host that its readers do not see. */
int sip_hop_of_uri(const osip_uri_t *uri, struct sip_hop *ret) {
	struct sip_hop hop = {.flow.fd = -1};

	if (!uri_is_sip(uri))
		return -EPROTONOSUPPORT;
	int error = sip_uri_transport(uri, &hop.transport);
	if (error < 0)
		return error;
	if (!address_of_host(uri->host, &hop.address))
		return -ENODATA;
	if (!is_place(&hop.address))
		return -EHOSTUNREACH;
	error = sip_uri_port(uri, hop.transport, &hop.address.port);
	if (error < 0)
		return error;
	if (hop.transport == SIP_TLS)
		snprintf(hop.identity, sizeof(hop.identity), "%s", uri->host);
	*ret = hop;
	return 0;
}

/*
 * Over the connection while that is open; else to the host at its other end, at the port of the URI when it names this host, at the
 * port it came from when there is an address translator in between.
 */
int sip_hop_of_flow(struct sip_gateway *gateway, const struct sip_flow *flow, const osip_uri_t *uri, struct sip_hop *ret) {
	struct sip_hop hop = {.flow = *flow, .address = flow->remote};
	struct address contact;
	uint16_t port;

	if (!uri_is_sip(uri) || sip_uri_transport(uri, &hop.transport) < 0)
		return -EHOSTUNREACH;
	if (uri_is_secure(uri) && flow->transport != SIP_TLS)
		return -EHOSTUNREACH;
	if (sip_connection_of(gateway, flow)) {
		hop.transport = flow->transport;
		*ret = hop;
		return 0;
	}
	bool named = address_of_host(uri->host, &contact) && address_same_host(&contact, &flow->remote) &&
		     sip_uri_port(uri, hop.transport, &port) == 0;
	if (named)
		hop.address.port = port;
	else if (hop.transport != SIP_UDP || flow->transport != SIP_UDP)
		return -EHOSTUNREACH; /* its connection is gone, and nobody can open one through a translator */
	if (hop.transport != SIP_UDP || flow->transport != SIP_UDP)
		hop.flow = (struct sip_flow){.fd = -1};
	*ret = hop;
	return 0;
}

/* The listener a datagram leaves from: the one its phone knows, else the first of its kind. */
static const struct sip_listener *listener_for(const struct sip_gateway *gateway, const struct sip_hop *hop) {
	for (size_t i = 0; i < gateway->listener_count; i++)
		if (hop->flow.fd >= 0 && gateway->listeners[i].udp == hop->flow.fd)
			return &gateway->listeners[i];
	for (size_t i = 0; i < gateway->listener_count; i++)
		if (gateway->listeners[i].address.family == hop->address.family)
			return &gateway->listeners[i];
	return NULL;
}

int sip_hop_open(struct sip_gateway *gateway, const struct sip_hop *hop, struct sip_flow *ret) {
	if (sip_connection_of(gateway, &hop->flow)) {
		*ret = hop->flow;
		return 0;
	}
	const struct sip_listener *listener = listener_for(gateway, hop);
	if (!listener || (hop->transport != SIP_UDP && listener->tcp < 0))
		return -EAFNOSUPPORT; /* the other side could not reach us */
	if (hop->transport == SIP_TLS)
		return sip_tls_connect(gateway, hop, ret);
	if (hop->transport == SIP_TCP) {
		struct sip_connection *connection;
		int error = sip_tcp_connect(gateway, &hop->address, NULL, &connection);
		if (error == 0)
			*ret = connection->flow;
		return error;
	}
	struct sip_flow flow = {.remote = hop->address, .local = listener->address, .transport = SIP_UDP, .fd = listener->udp};
	if (hop->flow.fd == listener->udp)
		flow.local = hop->flow.local;
	*ret = flow;
	return 0;
}

int sip_flow_send(struct sip_gateway *gateway, const struct sip_flow *flow, struct octets octets) {
	sip_trace_sent(gateway, flow, &flow->remote, octets);
	return flow->connection != 0 ? sip_tcp_send(gateway, flow, octets) : sip_udp_send(gateway, flow, &flow->remote, octets);
}

/* What the system would take as source address towards `remote`. */
static int source_towards(const struct address *remote, struct address *ret) {
	_cleanup_close_ int fd = socket(remote->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage sockaddr;
	socklen_t length = address_to_sockaddr(remote, &sockaddr);

	if (fd < 0 || connect(fd, (struct sockaddr *)&sockaddr, length) < 0)
		return -errno;
	length = sizeof(sockaddr);
	if (getsockname(fd, (struct sockaddr *)&sockaddr, &length) < 0)
		return -errno;
	*ret = address_of_sockaddr((const struct sockaddr *)&sockaddr);
	return 0;
}

bool sip_hop_possible(const struct address *address) {
	struct address source;

	return is_place(address) && source_towards(address, &source) == 0;
}

const char *sip_flow_sent_by(struct sip_gateway *gateway, const struct sip_flow *flow, char text[static ADDRESS_TEXT_SIZE]) {
	static const uint8_t any[sizeof(flow->local.octets)];
	struct address address = flow->local, source;

	if (memcmp(address.octets, any, sizeof(any)) == 0 && source_towards(&flow->remote, &source) == 0)
		memcpy(address.octets, source.octets, sizeof(address.octets));
	/* A connection has a port of its own; we listen at another. */
	const struct sip_connection *connection = sip_connection_of(gateway, flow);
	bool peer = connection && connection->peer;
	const struct sip_listener *listeners = flow->transport == SIP_TLS ? gateway->secure : gateway->listeners;
	size_t count = flow->transport == SIP_TLS ? gateway->secure_count : gateway->listener_count;
	for (size_t i = 0; flow->transport != SIP_UDP && i < count; i++) {
		const struct address *listened = &listeners[i].address;
		if (listened->family != address.family || listeners[i].peer != peer)
			continue;
		address.port = listened->port;
		if (address_same_host(listened, &address))
			break;
	}
	address.scope = 0;
	return address_format(&address, text);
}
