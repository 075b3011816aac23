/* SPDX-License-Identifier: BSD-2-Clause */
#include "support/tls_net.h"

#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TURNS_MAX = 2000, WAIT_MS = 20, PASS_TURNS = 8 };

/* --- nodes --- */

static void add_event(struct tls_node *node, struct tls_event event) {
	node->counts[event.what]++;
	node->last[event.what] = event;
}

static void on_up(void *userdata, uint16_t slot, bool initiated) {
	add_event(userdata, (struct tls_event){.what = TLS_EVENT_UP, .slot = slot, .initiated = initiated});
}

static void on_down(void *userdata, uint16_t slot, enum link_reason reason) {
	add_event(userdata, (struct tls_event){.what = TLS_EVENT_DOWN, .slot = slot, .reason = reason});
}

static void on_suspect(void *userdata, uint16_t slot, bool suspected) {
	add_event(userdata, (struct tls_event){.what = suspected ? TLS_EVENT_SUSPECT : TLS_EVENT_RESTORED, .slot = slot});
}

static void on_receive(void *userdata, uint16_t slot, uint8_t *message, size_t length) {
	struct tls_node *node = userdata;

	(void)slot;
	node->message_count++;
	node->message_length = length;
	if (length <= TLS_NET_MESSAGE)
		memcpy(node->message, message, length);
	memset(message, 0xee, length); /* the callee may overwrite it */
}

struct tls_node *tls_node_with(struct tls_net *net, struct credential *credential, unsigned protocols,
			       const struct dtls_settings *settings) {
	struct dtls_settings own = settings ? *settings : (struct dtls_settings){0};
	struct tls_node *node = calloc(1, sizeof(*node));
	char reason[200] = "no credential";

	node->net = net;
	node->message = malloc(TLS_NET_MESSAGE);
	node->credential = credential;
	node->runtime = (struct runtime){.now_us = net->now_us, .source = runtime_source_system()};
	own.runtime = &node->runtime;
	if (!own.trust)
		own.trust = net->overlay.trust;
	own.credential = credential;
	if (own.listen_count == 0) {
		address_parse("127.0.0.1", 1, &own.listen[0]);
		own.listen[0].port = 0;
		own.listen_count = 1;
	}
	struct transport_events events = {node, on_up, on_down, on_suspect, on_receive};
	if (!credential || links_new(&own, protocols, &events, &node->links, reason, sizeof(reason)) < 0) {
		fprintf(stderr, "no node: %s\n", reason);
		credential_unref(credential);
		free(node->message);
		free(node);
		return NULL;
	}
	node->transport = links_transport(node->links);
	net->nodes[net->node_count++] = node;
	return node;
}

struct tls_node *tls_node_new(struct tls_net *net, uint8_t octet, unsigned protocols, const struct dtls_settings *settings) {
	struct id id = support_node_id(octet);
	char user[64];

	snprintf(user, sizeof(user), "node%u@example.org", octet);
	return tls_node_with(net, support_credential(&net->overlay, user, &id, 1), protocols, settings);
}

void tls_node_free(struct tls_node *node) {
	struct tls_net *net;

	if (!node)
		return;
	net = node->net;
	for (size_t i = 0; i < net->node_count; i++)
		if (net->nodes[i] == node)
			net->nodes[i--] = net->nodes[--net->node_count];
	links_free(node->links);
	credential_unref(node->credential);
	free(node->message);
	free(node);
}

struct address tls_node_address(const struct tls_node *node, bool tls) {
	struct address address = links_local(node->links);

	address.protocol = tls ? IPPROTO_TCP : 0;
	return address;
}

uint16_t tls_node_connect(struct tls_node *node, const struct address *to, size_t count, uint8_t octet) {
	struct id expected = support_node_id(octet);
	uint16_t slot;

	if (node->transport.ops->connect(node->transport.object, to, count, octet != 0 ? &expected : NULL, &slot) < 0)
		return LINK_SLOT_NONE;
	return slot;
}

int tls_node_send(struct tls_node *node, uint16_t slot, const void *data, size_t length) {
	struct iovec parts[2] = {{(void *)data, length / 2}, {(uint8_t *)data + length / 2, length - length / 2}};

	return node->transport.ops->send(node->transport.object, slot, parts, 2, 0);
}

const struct tls_counters *tls_node_counters(const struct tls_node *node) {
	return links_tls_counters(node->links);
}

/* --- the whole --- */

int tls_net_open(struct tls_net *net) {
	signal(SIGPIPE, SIG_IGN);
	memset(net, 0, sizeof(*net));
	net->now_us = 1000000;
	return support_overlay_new(SUPPORT_OVERLAY_NAME, &net->overlay);
}

void tls_net_close(struct tls_net *net) {
	while (net->node_count > 0)
		tls_node_free(net->nodes[0]);
	support_overlay_release(&net->overlay);
}

static void fire(struct tls_net *net, struct tls_node *node) {
	if (node->runtime.now_us < net->now_us)
		node->runtime.now_us = net->now_us;
	runtime_fire(&node->runtime);
	/* What a timer put off until right afterwards is due a microsecond later. */
	for (unsigned again = 0; again < 8 && runtime_next(&node->runtime) <= node->runtime.now_us + 1; again++) {
		node->runtime.now_us++;
		runtime_fire(&node->runtime);
	}
	links_flush(node->links);
}

bool tls_net_turn(struct tls_net *net, int wait_ms) {
	struct pollfd fds[TLS_NET_NODES * LINKS_FDS];
	struct tls_node *owners[TLS_NET_NODES * LINKS_FDS];
	size_t count = 0;
	int numbers[LINKS_FDS];

	for (size_t i = 0; i < net->node_count; i++) {
		fire(net, net->nodes[i]);
		size_t of_node = links_fds(net->nodes[i]->links, numbers, LINKS_FDS);
		for (size_t j = 0; j < of_node; j++) {
			fds[count] = (struct pollfd){.fd = numbers[j], .events = POLLIN};
			owners[count++] = net->nodes[i];
		}
	}
	if (poll(fds, count, wait_ms) <= 0)
		return false;
	for (size_t i = 0; i < count; i++)
		if (fds[i].revents)
			while (links_receive(owners[i]->links, fds[i].fd))
				;
	for (size_t i = 0; i < net->node_count; i++)
		links_flush(net->nodes[i]->links);
	return true;
}

void tls_net_settle(struct tls_net *net) {
	for (unsigned i = 0, quiet = 0; i < TURNS_MAX && quiet < 2; i++)
		quiet = tls_net_turn(net, 1) ? 0 : quiet + 1;
}

bool tls_net_until(struct tls_net *net, const struct tls_node *node, int what, size_t count) {
	for (unsigned i = 0; i < TURNS_MAX && node->counts[what] < count; i++)
		tls_net_turn(net, WAIT_MS);
	return node->counts[what] >= count;
}

bool tls_net_until_message(struct tls_net *net, const struct tls_node *node, size_t count) {
	for (unsigned i = 0; i < TURNS_MAX && node->message_count < count; i++)
		tls_net_turn(net, WAIT_MS);
	return node->message_count >= count;
}

void tls_net_pass(struct tls_net *net, uint64_t us) {
	uint64_t end_us = net->now_us + us;

	while (net->now_us < end_us) {
		uint64_t next_us = end_us;
		for (size_t i = 0; i < net->node_count; i++) {
			uint64_t due_us = runtime_next(&net->nodes[i]->runtime);
			if (due_us < next_us)
				next_us = due_us;
		}
		net->now_us = next_us > net->now_us ? next_us : net->now_us + 1;
		for (unsigned i = 0; i < PASS_TURNS && tls_net_turn(net, 0); i++)
			;
	}
}

/* --- strangers --- */

int stranger_open(struct tls_net *net, const struct tls_node *node, const char *host, struct stranger *ret) {
	struct address to = tls_node_address(node, true), from = {0};
	struct sockaddr_storage name;

	*ret = (struct stranger){.net = net};
	ret->fd = socket(to.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ret->fd < 0)
		return -errno;
	if (host && address_parse(host, 1, &from) == 0) {
		from.port = 0;
		socklen_t length = address_to_sockaddr(&from, &name);
		if (bind(ret->fd, (struct sockaddr *)&name, length) < 0)
			return -errno;
	}
	/* The backlog takes it without the node. */
	socklen_t length = address_to_sockaddr(&to, &name);
	return connect(ret->fd, (struct sockaddr *)&name, length) < 0 ? -errno : 0;
}

/* 1 again, 0 done, -ECONNRESET. Drives the nodes. */
static int step(struct stranger *stranger, int result) {
	if (result > 0)
		return 0;
	int error = SSL_get_error(stranger->ssl, result);
	if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
		ERR_clear_error();
		return -ECONNRESET;
	}
	tls_net_turn(stranger->net, WAIT_MS / 10);
	return 1;
}

static const char *stranger_secret;

static unsigned give_secret(SSL *ssl, const char *hint, char *identity, unsigned identity_max, unsigned char *key,
			    unsigned key_max) {
	size_t length = strlen(stranger_secret);

	(void)ssl;
	(void)hint;
	snprintf(identity, identity_max, "anybody");
	if (length > key_max)
		return 0;
	memcpy(key, stranger_secret, length); /* no string: NOLINT(bugprone-not-null-terminated-result) */
	return (unsigned)length;
}

int stranger_tls(struct stranger *stranger, const struct credential *credential, const char *secret, int version) {
	stranger->context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_min_proto_version(stranger->context, version);
	SSL_CTX_set_max_proto_version(stranger->context, version);
	SSL_CTX_set_verify(stranger->context, SSL_VERIFY_NONE, NULL);
	if (credential) {
		SSL_CTX_use_certificate(stranger->context, credential->certificate->x509);
		SSL_CTX_use_PrivateKey(stranger->context, credential->key);
	}
	if (secret) {
		stranger_secret = secret;
		SSL_CTX_set_psk_client_callback(stranger->context, give_secret);
		SSL_CTX_set_cipher_list(stranger->context, "ECDHE-PSK-CHACHA20-POLY1305");
	}
	stranger->ssl = SSL_new(stranger->context);
	SSL_set_mode(stranger->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	struct timeval timeout = {.tv_usec = 1000};
	setsockopt(stranger->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(stranger->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	SSL_set_fd(stranger->ssl, stranger->fd);
	int state = 1;
	for (unsigned i = 0; i < TURNS_MAX && state == 1; i++)
		state = step(stranger, SSL_connect(stranger->ssl));
	return state == 1 ? -ETIMEDOUT : state;
}

int stranger_write(struct stranger *stranger, const void *data, size_t length) {
	const uint8_t *octets = data;
	int state = 0;

	for (unsigned i = 0; i < TURNS_MAX && length > 0 && state >= 0; i++) {
		int result = SSL_write(stranger->ssl, octets, (int)length);
		if (result > 0) {
			octets += result;
			length -= (size_t)result;
		}
		state = step(stranger, result);
	}
	return state < 0 ? state : length > 0 ? -ETIMEDOUT : 0;
}

int stranger_read(struct stranger *stranger, void *data, size_t length) {
	uint8_t *octets = data;
	int state = 0;

	for (unsigned i = 0; i < TURNS_MAX && length > 0 && state >= 0; i++) {
		int result = SSL_read(stranger->ssl, octets, (int)length);
		if (result > 0) {
			octets += result;
			length -= (size_t)result;
		}
		state = step(stranger, result);
	}
	return state < 0 ? state : length > 0 ? -ETIMEDOUT : 0;
}

bool stranger_closed(struct stranger *stranger) {
	struct pollfd pollfd = {.fd = stranger->fd, .events = POLLIN};
	uint8_t octets[4096];

	for (unsigned i = 0; i < TURNS_MAX / 10; i++) {
		tls_net_turn(stranger->net, 1);
		if (poll(&pollfd, 1, WAIT_MS / 4) <= 0)
			continue;
		ssize_t got = recv(stranger->fd, octets, sizeof(octets), MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno == ECONNRESET))
			return true;
	}
	return false;
}

void stranger_close(struct stranger *stranger) {
	SSL_free(stranger->ssl);
	SSL_CTX_free(stranger->context);
	if (stranger->fd >= 0)
		close(stranger->fd);
	*stranger = (struct stranger){.fd = -1};
}
