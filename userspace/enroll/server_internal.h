/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of the enrollment server share. */
#pragma once

#include "enroll/guard.h"
#include "enroll/server.h"

#include <microhttpd.h>
#include <pthread.h>

enum request_stage { REQUEST_RECEIVING, REQUEST_QUEUED, REQUEST_DONE };

struct field {
	uint8_t *data;
	size_t length, max;
	bool given;
};

/* One POST, from its headers to its answer. */
struct request {
	struct server *server;
	struct MHD_Connection *connection;
	struct MHD_PostProcessor *processor;
	struct authority *authority;
	struct address source;
	struct field user_name, password, node_ids, csr;
	struct client *client; /* while a worker has it, or it waits for one */
	size_t received;
	unsigned status;      /* 0 while nothing is wrong; else of the answer */
	const char *sentence; /* that goes with it */
	bool csr_type_wrong;
	enum request_stage stage;

	enum enrollment_outcome outcome;
	struct enrollment_answer answer;
	struct request *prev, *next; /* in the queue */
};

struct client {
	struct MHD_Connection *connection;
	uint64_t since_us; /* when it came, or got its last answer */
	bool waits;	   /* for us: its request is complete */
	struct client *prev, *next;
};

struct server {
	const struct enroll_settings *settings;
	struct authority *authorities[ENROLL_OVERLAYS_MAX]; /* as settings->overlays */
	struct guard *guard;				    /* of networks */
	struct MHD_Daemon *daemon;

	pthread_mutex_t lock; /* everything below */
	pthread_cond_t work;
	struct request *queue;
	size_t queued;
	bool stopping;
	pthread_t workers[ENROLL_WORKERS_MAX];
	unsigned worker_count;
	struct client *clients; /* who came first, or was answered first, is first */
	size_t client_count;
};

/* The overlay a Host header means, or NULL. */
struct authority *server_authority(const struct server *server, const char *host);

/* The handlers of libmicrohttpd. */
enum MHD_Result server_answer(void *userdata, struct MHD_Connection *connection, const char *url, const char *method,
			      const char *version, const char *data, size_t *length, void **state);
void server_request_completed(void *userdata, struct MHD_Connection *connection, void **state,
			      enum MHD_RequestTerminationCode code);

/* Hands the request to the workers and suspends its connection. -EBUSY: the queue is full, or the server stops. */
int server_submit(struct request *request);

/* How many Node-IDs the form asks for; 0 when that is no number. */
unsigned request_node_ids(const struct request *request);
