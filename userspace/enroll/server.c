/* SPDX-License-Identifier: BSD-2-Clause */
#include "enroll/server_internal.h"

#include "base/log.h"
#include "base/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

enum { PEM_FILE_MAX = 65536, BACKLOG = 1024 };

/* AES-128 first: the hash of the 256-bit suites, SHA-384, takes a tenth of what a request costs us. */
static const char tls_priorities[] = "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:"
				     "-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305:+AES-256-GCM:%SERVER_PRECEDENCE";

static int fail(char *reason, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(char *reason, int error, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, ENROLL_REASON_SIZE, format, arguments);
	va_end(arguments);
	return error;
}

/* ---- overlays ---- */

static bool host_matches(const char *host, size_t length, const char *name) {
	return strlen(name) == length && strncasecmp(host, name, length) == 0;
}

struct authority *server_authority(const struct server *server, const char *host) {
	if (!host)
		return NULL;
	size_t length = strcspn(host, ":"); /* names only: no certificate is made for addresses here */
	if (length > 0 && host[length - 1] == '.')
		length--;
	for (size_t i = 0; i < server->settings->overlay_count; i++) {
		const struct enroll_overlay_settings *overlay = &server->settings->overlays[i];
		if (host_matches(host, length, overlay->name))
			return server->authorities[i];
		for (size_t j = 0; j < overlay->host_count; j++)
			if (host_matches(host, length, overlay->hosts[j]))
				return server->authorities[i];
	}
	return NULL;
}

static int open_authorities(struct server *server, char *reason) {
	for (size_t i = 0; i < server->settings->overlay_count; i++) {
		const struct enroll_overlay_settings *overlay = &server->settings->overlays[i];
		int error = authority_open(overlay->directory, &server->settings->policy, &server->authorities[i], reason);
		if (error < 0)
			return error;
		const char *name = authority_overlay_name(server->authorities[i]);
		if (strcasecmp(name, overlay->name) != 0)
			return fail(reason, -EINVAL, "%.200s describes overlay %.100s, not %.100s.", overlay->directory, name,
				    overlay->name);
	}
	return 0;
}

/* ---- workers ---- */

static const char *name_for_log(const struct request *request, char text[static USER_NAME_MAX + 1]) {
	struct octets name = OCTETS(request->user_name.data, request->user_name.length);

	if (!ledger_name_usable(name))
		return "(an unusable name)";
	memcpy(text, name.data, name.length);
	text[name.length] = 0;
	return text;
}

static void work(struct request *request) {
	struct runtime_source source = runtime_source_system();
	char address[ADDRESS_TEXT_SIZE], name[USER_NAME_MAX + 1];
	struct enrollment enrollment = {
		.user_name = OCTETS(request->user_name.data, request->user_name.length),
		.password = OCTETS(request->password.data, request->password.length),
		.csr = OCTETS(request->csr.data, request->csr.length),
		.node_ids = request_node_ids(request),
		.renewal = !request->password.given,
		.source = request->source,
		.now_ms = source.realtime_ms(source.userdata),
		.now_us = clock_monotonic_us(),
	};

	/* Others from there may have failed while this one was in the queue. */
	request->answer.wait_s = guard_network_wait_s(request->server->guard, &request->source, enrollment.now_us);
	if (request->answer.wait_s > 0) {
		request->outcome = ENROLLMENT_THROTTLED;
		request->answer.why = "too many wrong passwords from there";
	} else {
		request->outcome = authority_enroll(request->authority, &enrollment, &request->answer);
	}
	if (request->outcome == ENROLLMENT_FAILED_AUTHENTICATION)
		guard_network_failed(request->server->guard, &request->source, enrollment.now_us);
	address_format_host(&request->source, address);
	if (request->outcome == ENROLLMENT_ISSUED)
		log_info("Issued a certificate to %s of overlay %s at %s.", name_for_log(request, name),
			 authority_overlay_name(request->authority), address);
	else
		log_at(request->outcome == ENROLLMENT_TROUBLE ? LOG_ERR : LOG_NOTICE, "Refused %s of overlay %s at %s: %s.",
		       name_for_log(request, name), authority_overlay_name(request->authority), address, request->answer.why);
}

/* From here on it is the client again that has to be quick. Afterwards the request is not ours any more. */
static void answer(struct request *request) {
	struct server *server = request->server;
	struct client *client = request->client;

	pthread_mutex_lock(&server->lock);
	if (client) {
		client->waits = false;
		client->since_us = clock_monotonic_us();
		DL_DELETE(server->clients, client);
		DL_APPEND(server->clients, client);
	}
	pthread_mutex_unlock(&server->lock);
	request->stage = REQUEST_DONE;
	MHD_resume_connection(request->connection);
}

static void *work_loop(void *userdata) {
	struct server *server = userdata;
	char wrong[USER_NAME_MAX + 1]; /* the account whose password was not that */

	pthread_mutex_lock(&server->lock);
	for (;;) {
		while (!server->queue && !server->stopping)
			pthread_cond_wait(&server->work, &server->lock);
		struct request *request = server->queue;
		if (!request)
			break; /* stopping, and nothing is left */
		DL_DELETE(server->queue, request);
		server->queued--;
		pthread_mutex_unlock(&server->lock);
		work(request);
		struct authority *authority = request->authority;
		wrong[0] = 0;
		if (request->answer.wrong_password)
			name_for_log(request, wrong);
		answer(request);
		if (wrong[0])
			authority_note_failure(authority, wrong);
		pthread_mutex_lock(&server->lock);
	}
	pthread_mutex_unlock(&server->lock);
	return NULL;
}

static struct client *client_of(struct MHD_Connection *connection) {
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

int server_submit(struct request *request) {
	struct server *server = request->server;
	int error = 0;

	pthread_mutex_lock(&server->lock);
	if (server->stopping || server->queued >= server->settings->queue) {
		error = -EBUSY;
	} else {
		request->client = client_of(request->connection);
		if (request->client)
			request->client->waits = true;
		MHD_suspend_connection(request->connection);
		DL_APPEND(server->queue, request);
		server->queued++;
		pthread_cond_signal(&server->work);
	}
	pthread_mutex_unlock(&server->lock);
	return error;
}

static int start_workers(struct server *server, char *reason) {
	while (server->worker_count < server->settings->workers) {
		int error = pthread_create(&server->workers[server->worker_count], NULL, work_loop, server);
		if (error != 0)
			return fail(reason, -error, "A worker thread cannot be started: %s.", strerror(error));
		server->worker_count++;
	}
	return 0;
}

/* ---- connections ---- */

static void on_connection(void *userdata, struct MHD_Connection *connection, void **state,
			  enum MHD_ConnectionNotificationCode code) {
	struct server *server = userdata;
	struct client *client = *state;

	pthread_mutex_lock(&server->lock);
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		client = calloc(1, sizeof(*client));
		if (client) {
			client->connection = connection;
			client->since_us = clock_monotonic_us();
			DL_APPEND(server->clients, client);
			server->client_count++;
			*state = client;
		}
	} else if (client) {
		DL_DELETE(server->clients, client);
		server->client_count--;
		free(client);
		*state = NULL;
	}
	pthread_mutex_unlock(&server->lock);
}

void server_tick(struct server *server) {
	uint64_t limit_us = server->settings->request_s * USEC_PER_SEC, now_us = clock_monotonic_us();
	struct client *client;

	/* Under the lock no connection can go away, so its descriptor is still its own. */
	pthread_mutex_lock(&server->lock);
	if (server->client_count > server->settings->connections - server->settings->connections / 4)
		limit_us /= SERVER_HURRY; /* somebody may be taking them all */
	DL_FOREACH (server->clients, client) {
		if (now_us - client->since_us < limit_us)
			break; /* the oldest come first */
		if (client->waits)
			continue; /* it would not learn of its certificate */
		const union MHD_ConnectionInfo *info =
			MHD_get_connection_info(client->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
		if (info)
			shutdown(info->connect_fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&server->lock);
}

int server_listen(const struct address *address, int *ret_fd, char reason[static ENROLL_REASON_SIZE]) {
	struct sockaddr_storage socket_address;
	socklen_t length = address_to_sockaddr(address, &socket_address);
	_cleanup_close_ int fd = socket(address->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char text[ADDRESS_TEXT_SIZE];
	const int on = 1, off = 0;

	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (address->family == AF_INET6)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	}
	if (fd < 0 || bind(fd, (struct sockaddr *)&socket_address, length) < 0 || listen(fd, BACKLOG) < 0) {
		int error = -errno;
		return fail(reason, error, "The server cannot listen on %s: %s.", address_format(address, text), strerror(-error));
	}
	*ret_fd = fd;
	fd = -1;
	return 0;
}

/* A whole file as a string. */
static int read_pem(const char *path, bool secret, char **ret, char *reason) {
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return fail(reason, -errno, "%.300s cannot be read: %s.", path, strerror(errno));
	if (!S_ISREG(status.st_mode) || status.st_size > PEM_FILE_MAX)
		return fail(reason, -EBADMSG, "%.300s is not a regular file of at most 65536 octets.", path);
	if (secret && status.st_mode & (S_IRWXO | S_IWGRP))
		return fail(reason, -EPERM, "%.300s is open to everybody; its mode should be 0600 or 0640.", path);
	char *text = calloc(1, (size_t)status.st_size + 1);
	if (!text || read(fd, text, (size_t)status.st_size) != status.st_size) {
		free(text);
		return fail(reason, -EIO, "%.300s cannot be read.", path);
	}
	*ret = text;
	return 0;
}

static void wipe_string(char **text) {
	if (*text)
		octets_wipe(*text, strlen(*text));
	free(*text);
}

static int start_daemon(struct server *server, int listen_fd, char *reason) {
	_cleanup_(wipe_string) char *key = NULL;
	_cleanup_free_ char *certificate = NULL;
	const struct enroll_settings *settings = server->settings;

	int error = read_pem(settings->certificate, false, &certificate, reason);
	if (error == 0)
		error = read_pem(settings->key, true, &key, reason);
	if (error < 0)
		return error;
	server->daemon = MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TLS | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL, NULL, server_answer,
		server, MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_HTTPS_MEM_KEY, key, MHD_OPTION_HTTPS_MEM_CERT, certificate,
		MHD_OPTION_HTTPS_PRIORITIES, tls_priorities, MHD_OPTION_CONNECTION_LIMIT, settings->connections,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, settings->connections_per_address, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)SERVER_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)SERVER_CONNECTION_MEMORY,
		MHD_OPTION_NOTIFY_COMPLETED, server_request_completed, NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
		MHD_OPTION_END);
	if (!server->daemon)
		return fail(reason, -EINVAL, "HTTPS cannot be started with the certificate %.150s and the key %.150s.",
			    settings->certificate, settings->key);
	return 0;
}

int server_new(const struct enroll_settings *settings, int listen_fd, struct server **ret, char reason[static ENROLL_REASON_SIZE]) {
	_cleanup_(server_freep) struct server *server = calloc(1, sizeof(*server));

	if (!server)
		return fail(reason, -ENOMEM, "Out of memory.");
	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->work, NULL);
	server->settings = settings;
	const struct guard_limits limits = {.network_per_minute = settings->failures_per_minute};
	if (guard_new(&limits, &server->guard) < 0)
		return fail(reason, -ENOMEM, "Out of memory.");
	int error = open_authorities(server, reason);
	if (error == 0)
		error = start_workers(server, reason);
	if (error == 0)
		error = start_daemon(server, listen_fd, reason);
	if (error < 0)
		return error;
	*ret = TAKE(server);
	return 0;
}

struct server *server_free(struct server *server) {
	if (!server)
		return NULL;
	pthread_mutex_lock(&server->lock);
	server->stopping = true;
	pthread_cond_broadcast(&server->work);
	pthread_mutex_unlock(&server->lock);
	for (unsigned i = 0; i < server->worker_count; i++)
		pthread_join(server->workers[i], NULL);
	if (server->daemon)
		MHD_stop_daemon(server->daemon); /* closes the listening socket */
	for (size_t i = 0; i < server->settings->overlay_count; i++)
		authority_close(server->authorities[i]);
	guard_free(server->guard);
	pthread_cond_destroy(&server->work);
	pthread_mutex_destroy(&server->lock);
	free(server);
	return NULL;
}
