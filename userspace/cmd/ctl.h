/* SPDX-License-Identifier: BSD-2-Clause */
/* What the commands of ringgatectl share. */
#pragma once

#include "enroll/password.h"
#include "enroll/provision.h"

#include <jansson.h>
#include <stdbool.h>

enum { CTL_DONE = 0, CTL_FAILED = 1, CTL_USAGE = 2, CTL_NO_DAEMON = 3, CTL_BOOTSTRAP_MAX = 32, CTL_KINDS_MAX = 16 };
enum { CTL_SERVERS_MAX = CONFIG_ENROLLMENT_MAX };

struct ctl {
	const char *socket_path;
	bool json;
	unsigned count;
	char **arguments;
	int argument_count;
	json_t *request; /* goes to the daemon */

	int fd; /* of the control socket, -1 while not connected */
	char *input;
	size_t input_length;

	struct provision_overlay overlay;
	struct provision_certificate certificate;
	struct address bootstrap[CTL_BOOTSTRAP_MAX];
	struct kind kinds[CTL_KINDS_MAX];
	const char *enrollment_servers[CTL_SERVERS_MAX];

	const char *secret_file; /* overlay create */

	/* enrollment */
	const char *password_file, *ca_file, *address, *directory, *account, *users_file, *document;
	bool renew, keep_document;
	const char *voucher; /* scope */
	unsigned users_max;
	json_t *list; /* being put together */
};

void ctl_release(struct ctl *ctl);

/*
 * Sends `request` (borrowed) and waits for the answer. CTL_DONE: *ret_result is the result, to be released with json_decref().
 * Otherwise the reason was printed and the exit status is returned.
 */
int ctl_ask(struct ctl *ctl, json_t *request, json_t **ret_result);

/* ctl_ask() of ctl->request; with --json the result is printed and *ret_result is NULL. */
int ctl_ask_or_print(struct ctl *ctl, json_t **ret_result);

void ctl_print_json(const json_t *value);

/* The first line of `path` ("-": standard input), at most `size` - 2 octets. The reason was printed on failure. */
int ctl_read_secret(const char *path, char *line, size_t size);

int ctl_status(struct ctl *ctl);
int ctl_peers(struct ctl *ctl);
int ctl_ring(struct ctl *ctl);
int ctl_drops(struct ctl *ctl);
int ctl_fastpath(struct ctl *ctl);
int ctl_wait(struct ctl *ctl);
int ctl_leave(struct ctl *ctl);
int ctl_registrations(struct ctl *ctl);
int ctl_metrics(struct ctl *ctl);
int ctl_fetch(struct ctl *ctl);
int ctl_store(struct ctl *ctl);
int ctl_find(struct ctl *ctl);
int ctl_resolve(struct ctl *ctl);
int ctl_ping(struct ctl *ctl);
int ctl_trace(struct ctl *ctl);
int ctl_overlay(struct ctl *ctl);
int ctl_overlay_bump(struct ctl *ctl);
int ctl_overlay_sign(struct ctl *ctl);
int ctl_overlay_publish(struct ctl *ctl);
int ctl_user(struct ctl *ctl);
int ctl_node_command(struct ctl *ctl);
int ctl_enroll(struct ctl *ctl);
int ctl_overlay_fetch(struct ctl *ctl);
int ctl_configuration(struct ctl *ctl);
int ctl_sip(struct ctl *ctl);

/* From --password-file ("-": standard input) or the terminal; never from the command line, where everybody can read it. The exit
 * status when there is none. */
int ctl_get_password(const struct ctl *ctl, char password[static PASSWORD_MAX + 2]);
