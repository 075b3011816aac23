/* SPDX-License-Identifier: BSD-2-Clause */
/* configuration, configuration update, configuration fetch: the document this node goes by, and newer ones. */
#include "cmd/ctl.h"
#include "enroll/client.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static long long number_of(const json_t *object, const char *name) {
	return (long long)json_integer_value(json_object_get(object, name));
}

static int ask(struct ctl *ctl, json_t **ret) {
	json_t *request = json_pack("{s:s}", "command", "configuration");
	int status = ctl_ask(ctl, request, ret);

	json_decref(request);
	return status;
}

static void print_expiration(long long expiration_ms) {
	time_t seconds = (time_t)(expiration_ms / 1000);
	char date[32];

	if (expiration_ms == 0) {
		printf("%-14s never\n", "expires");
		return;
	}
	strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", gmtime(&seconds));
	printf("%-14s %s%s\n", "expires", date, seconds <= time(NULL) ? " (it has expired)" : "");
}

static void print_server(const json_t *server) {
	const char *name = json_string_value(json_object_get(server, "name"));
	const char *failure = json_string_value(json_object_get(server, "last_failure"));

	if (!name) {
		printf("%-14s none known; set server in [enroll]\n", "server");
		return;
	}
	printf("%-14s %s, asked %lld times, next in %lld s\n", "server", name, number_of(server, "asked"),
	       number_of(server, "next_s"));
	if (failure && failure[0])
		printf("%-14s %s\n", "", failure);
}

static int show(struct ctl *ctl) {
	json_t *result, *member;
	const char *name;
	size_t index;
	int status = ask(ctl, &result);

	if (status != CTL_DONE)
		return status;
	if (ctl->json) {
		ctl_print_json(result);
		json_decref(result);
		return CTL_DONE;
	}
	const json_t *spread = json_object_get(result, "spread");
	printf("%-14s %s, sequence %lld, %lld octets\n", "overlay", json_string_value(json_object_get(result, "overlay")),
	       number_of(result, "sequence"), number_of(result, "octets"));
	print_expiration(number_of(result, "expiration_ms"));
	print_server(json_object_get(result, "server"));
	printf("%-14s %lld, confirmed by %lld, lost %lld\n", "passed on", number_of(spread, "sent"), number_of(spread, "confirmed"),
	       number_of(spread, "lost"));
	printf("%-14s", "received");
	json_object_foreach(json_object_get(result, "documents"), name, member) if (json_integer_value(member) > 0)
		printf(" %s %lld", name, (long long)json_integer_value(member));
	putchar('\n');
	json_array_foreach(json_object_get(result, "bad_nodes"), index, member)
		printf("%-14s %s\n", index == 0 ? "bad nodes" : "", json_string_value(member));
	json_decref(result);
	return CTL_DONE;
}

/* Hands a document to the daemon, which judges it. */
static int hand_over(struct ctl *ctl, const struct writer *document) {
	json_t *result = NULL, *text = json_stringn((const char *)document->data, document->length);
	json_t *request = text ? json_pack("{s:s, s:o}", "command", "configuration-update", "document", text) : NULL;

	if (!request) {
		fputs("ringgatectl: The document is not text in UTF-8.\n", stderr);
		return CTL_FAILED;
	}
	int status = ctl_ask(ctl, request, &result);
	json_decref(request);
	if (status != CTL_DONE)
		return status;
	const char *outcome = json_string_value(json_object_get(result, "outcome"));
	if (ctl->json)
		ctl_print_json(result);
	else if (outcome && strcmp(outcome, "applied") == 0)
		printf("Configuration %lld is in force here and goes to the other nodes.\n", number_of(result, "sequence"));
	else
		printf("Configuration %lld stays in force: %s\n", number_of(result, "sequence"),
		       json_string_value(json_object_get(result, "reason")));
	json_decref(result);
	return CTL_DONE;
}

static int update(struct ctl *ctl) {
	_cleanup_(writer_release) struct writer document = writer_growing(CONFIG_DOCUMENT_MAX);
	_cleanup_fclose_ FILE *file = ctl->argument_count == 2 ? fopen(ctl->arguments[1], "re") : NULL;
	char buffer[4096];
	size_t got;

	if (ctl->argument_count != 2) {
		fputs("ringgatectl: configuration update takes the file with the document.\n", stderr);
		return CTL_USAGE;
	}
	while (file && (got = fread(buffer, 1, sizeof(buffer), file)) > 0)
		writer_raw(&document, buffer, got);
	if (!file || ferror(file) || writer_finish(&document) < 0) {
		fprintf(stderr, "ringgatectl: %s cannot be read: %s.\n", ctl->arguments[1],
			file && !ferror(file) ? "it is too large for a configuration document" : strerror(errno));
		return CTL_FAILED;
	}
	return hand_over(ctl, &document);
}

static int get(const struct client_settings *settings, struct writer *document) {
	_cleanup_(client_closep) struct client *client = NULL;
	char reason[PROVISION_REASON_SIZE] = "";

	int error = client_open(settings, &client, reason);
	if (error == 0)
		error = client_fetch(client, NULL, reason);
	if (error < 0) {
		fprintf(stderr, "ringgatectl: %s\n", reason);
		return CTL_FAILED;
	}
	writer_octets(document, OCTETS(client_config(client)->document, client_config(client)->document_length));
	return CTL_DONE;
}

/* Without an argument the daemon's settings say whom to ask. */
static int fetch(struct ctl *ctl) {
	_cleanup_(writer_release) struct writer document = writer_growing(CONFIG_DOCUMENT_MAX);
	json_t *known = NULL;
	int status = ask(ctl, &known);

	if (status != CTL_DONE)
		return status;
	const json_t *server = json_object_get(known, "server");
	const struct client_settings settings = {
		.server = ctl->argument_count == 2 ? ctl->arguments[1] : json_string_value(json_object_get(server, "name")),
		.overlay_name = json_string_value(json_object_get(known, "overlay")),
		.ca_file = ctl->ca_file ? ctl->ca_file : json_string_value(json_object_get(server, "ca_file")),
		.address = ctl->address ? ctl->address : json_string_value(json_object_get(server, "address")),
	};
	if (settings.server) {
		status = get(&settings, &document);
	} else {
		fputs("ringgatectl: No configuration server is known; name one, or set server in [enroll] of ringgate.conf.\n",
		      stderr);
		status = CTL_FAILED;
	}
	json_decref(known);
	return status == CTL_DONE ? hand_over(ctl, &document) : status;
}

int ctl_configuration(struct ctl *ctl) {
	static const struct {
		const char *word;
		int (*run)(struct ctl *ctl);
	} words[] = {{"show", show}, {"update", update}, {"fetch", fetch}};
	const char *word = ctl->argument_count > 0 ? ctl->arguments[0] : "show";

	for (size_t i = 0; i < ARRAY_LENGTH(words); i++)
		if (strcmp(word, words[i].word) == 0)
			return words[i].run(ctl);
	fprintf(stderr, "ringgatectl: there is no \"configuration %s\", only show, update and fetch.\n", word);
	return CTL_USAGE;
}
