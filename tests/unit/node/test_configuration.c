/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configuration in motion on a virtual network: documents spread, old and new sequences heal, useless documents are ignored and
 * counted, Kinds come one by one, records of bad nodes go.
 * B-6.3.2.1-01 B-6.3.2.1-02 B-6.3.2.1-03 B-6.3.2.1-04 B-6.3.2.1-05 B-6.5.4-01 B-6.5.4-02 B-6.5.4-03 B-6.5.4-04 B-6.5.4-05
 * B-11.1-03 B-11.1-06 B-11.1-07 B-11.1-11 B-11.1-12
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "layout.h"
#include "node/configuration.h"
#include "node/refresh.h"
#include "support/router_net.h"
#include "wire/method.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct heard {
	unsigned changed, unsupported, missing;
	char reason[CONFIG_REASON_SIZE];
};

static struct router_net net;
static struct configuration *configurations[ROUTER_NET_MAX];
static struct heard heards[ROUTER_NET_MAX];
static char directory[] = "/tmp/test_configuration_XXXXXX", path[sizeof(directory) + 32];

static void on_changed(void *userdata) {
	((struct heard *)userdata)->changed++;
}

static void on_unsupported(void *userdata, const char *reason) {
	struct heard *heard = userdata;

	heard->unsupported++;
	snprintf(heard->reason, sizeof(heard->reason), "%s", reason);
}

static void on_missing(void *userdata) {
	((struct heard *)userdata)->missing++;
}

static void start_one(size_t i, const char *file) {
	const struct configuration_settings settings = {
		.router = net.nodes[i].router,
		.path = file,
		.userdata = &heards[i],
		.changed = on_changed,
		.unsupported = on_unsupported,
		.missing = on_missing,
	};

	heards[i] = (struct heard){0};
	assert_int_equal(configuration_new(&settings, &configurations[i]), 0);
}

static void start(const struct document_settings *settings, size_t count) {
	static const uint8_t octets[] = {0x10, 0x30, 0x50, 0x70, 0x90, 0xb0, 0xd0};

	router_net_start(&net, settings, octets, count);
	for (size_t i = 0; i < count; i++)
		start_one(i, NULL);
}

static void stop(void) {
	for (size_t i = 0; i < ROUTER_NET_MAX; i++)
		configurations[i] = configuration_free(configurations[i]);
	router_net_stop(&net);
}

static void connect_all(void) {
	for (size_t a = 0; a < net.count; a++)
		for (size_t b = a + 1; b < net.count; b++)
			router_net_peers(&net.nodes[a], &net.nodes[b]);
}

/* A document of the overlay, signed by `signer` (NULL: nobody). */
static struct writer write_with(struct document_settings settings, const struct credential *signer) {
	struct writer w = writer_growing(CONFIG_DOCUMENT_MAX);
	struct document_settings filled = support_settings(&net.overlay, &settings);

	filled.no_ice = true;
	assert_int_equal(document_write(&filled, signer, &w), 0);
	return w;
}

static struct writer write_document(uint16_t sequence) {
	return write_with((struct document_settings){.sequence = sequence}, net.overlay.signer);
}

static enum configuration_outcome offer(size_t i, const struct writer *w, char *reason) {
	char ignored[CONFIG_REASON_SIZE];

	return configuration_offer(configurations[i], writer_octets_written(w), reason ? reason : ignored);
}

static void offer_new(size_t i, uint16_t sequence) {
	struct writer w = write_document(sequence);

	assert_int_equal(offer(i, &w, NULL), CONFIGURATION_APPLIED);
	writer_release(&w);
}

static uint16_t sequence_of(size_t i) {
	return router_config(net.nodes[i].router)->sequence;
}

static uint64_t sent_by_all(void) {
	uint64_t sent = 0;

	for (size_t i = 0; i < net.count; i++)
		sent += configuration_spread_figures(configurations[i])->sent;
	return sent;
}

static uint64_t outcomes(size_t i, enum configuration_outcome outcome) {
	return configuration_figures(configurations[i])->documents[outcome];
}

/* ---- spreading ---- */

static void spreads_once_per_link(void **state) {
	(void)state;
	start(NULL, 3);
	router_net_peers(&net.nodes[0], &net.nodes[1]);
	router_net_peers(&net.nodes[1], &net.nodes[2]);
	offer_new(0, 2);
	router_net_run_ms(&net, 1000);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(sequence_of(i), 2);
		assert_int_equal(heards[i].changed, 1);
		assert_int_equal(outcomes(i, CONFIGURATION_APPLIED), 1);
	}
	assert_int_equal(sent_by_all(), 2);
	assert_int_equal(configuration_spread_figures(configurations[0])->confirmed, 1);
	/* The same one again goes nowhere. */
	struct writer w = write_document(2);
	assert_int_equal(configuration_offer(configurations[1],
					     OCTETS(router_config(net.nodes[1].router)->document,
						    router_config(net.nodes[1].router)->document_length),
					     (char[CONFIG_REASON_SIZE]){0}),
			 CONFIGURATION_SAME);
	router_net_run_ms(&net, 1000);
	assert_int_equal(sent_by_all(), 2);
	writer_release(&w);
	stop();
}

static void flooding_is_bounded(void **state) {
	const size_t count = 7, links = count * (count - 1) / 2;

	(void)state;
	start(NULL, count);
	connect_all();
	offer_new(3, 2);
	router_net_run_ms(&net, 1000);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(sequence_of(i), 2);
		assert_int_equal(heards[i].changed, 1);
	}
	assert_in_range(sent_by_all(), count - 1, 2 * links);
	uint64_t sent = sent_by_all();
	router_net_run_ms(&net, 60000);
	assert_int_equal(sent_by_all(), sent); /* and then it is quiet */
	stop();
}

static void later_documents_overtake(void **state) {
	(void)state;
	start(NULL, 3);
	router_net_peers(&net.nodes[0], &net.nodes[1]);
	router_net_peers(&net.nodes[1], &net.nodes[2]);
	offer_new(0, 2);
	offer_new(0, 3); /* while 2 is on its way */
	offer_new(2, 4);
	router_net_run_ms(&net, 30000);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(sequence_of(i), 4);
	stop();
}

/* ---- healing ---- */

static void ping(size_t from, size_t to, struct router_net_outcome *outcome) {
	assert_int_equal(
		router_net_send(&net.nodes[from], router_net_node_list(&net.nodes[to].id), PING_REQ, router_net_ping(0), outcome),
		0);
}

static void heals_in_both_directions(void **state) {
	struct router_net_outcome outcome;

	(void)state;
	for (size_t asker = 0; asker < 2; asker++) {
		start(NULL, 2);
		offer_new(0, 2); /* before there is a link */
		assert_int_equal(sent_by_all(), 0);
		connect_all();
		ping(asker, 1 - asker, &outcome);
		router_net_run_ms(&net, 20000);
		assert_int_equal(outcome.calls, 1);
		assert_int_equal(outcome.error, -EREMOTEIO);
		assert_int_equal(outcome.error_code, asker == 0 ? ERROR_CONFIG_TOO_NEW : ERROR_CONFIG_TOO_OLD);
		assert_int_equal(sequence_of(1), 2);
		assert_int_equal(sent_by_all(), 1);
		ping(asker, 1 - asker, &outcome);
		router_net_run_ms(&net, 20000);
		assert_int_equal(outcome.error, 0);
		assert_int_equal(heards[0].missing + heards[1].missing, 0);
		stop();
	}
}

/* Who pushes an older document is given ours. */
static void stale_push_is_answered_with_ours(void **state) {
	struct writer old = writer_growing(CONFIG_DOCUMENT_MAX), body = writer_growing(CONFIG_DOCUMENT_MAX + 64);
	struct router_net_outcome outcome;

	(void)state;
	start(NULL, 2);
	writer_octets(&old, OCTETS(net.overlay.config->document, net.overlay.config->document_length));
	offer_new(0, 2);
	connect_all();
	config_update_write_config(&body, writer_octets_written(&old));
	struct octets list = router_net_node_list(&net.nodes[0].id);
	struct outgoing outgoing = {OUTGOING_DEFAULT,	       .destination_list = list,
				    .code = CONFIG_UPDATE_REQ, .body = writer_octets_written(&body),
				    .config_update = true,     .done = router_net_on_response,
				    .userdata = &outcome};
	outcome = (struct router_net_outcome){.net = &net};
	assert_int_equal(router_send_request(net.nodes[1].router, &outgoing, NULL), 0);
	router_net_run_ms(&net, 5000);
	assert_int_equal(outcome.error_code, ERROR_CONFIG_TOO_OLD);
	assert_int_equal(outcomes(0, CONFIGURATION_STALE), 1);
	assert_int_equal(sequence_of(1), 2);
	writer_release(&old);
	writer_release(&body);
	stop();
}

static void sequences_wrap(void **state) {
	const struct document_settings last = {.sequence = 65534, .no_ice = true};

	(void)state;
	start(&last, 3);
	router_net_peers(&net.nodes[0], &net.nodes[1]);
	router_net_peers(&net.nodes[1], &net.nodes[2]);
	offer_new(0, 0);
	router_net_run_ms(&net, 1000);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(sequence_of(i), 0);
	struct writer before = write_document(65534), half = write_document(32768), next = write_document(32767);
	assert_int_equal(offer(0, &before, NULL), CONFIGURATION_STALE);
	assert_int_equal(offer(0, &half, NULL), CONFIGURATION_STALE);
	assert_int_equal(offer(0, &next, NULL), CONFIGURATION_APPLIED);
	writer_release(&before);
	writer_release(&half);
	writer_release(&next);
	stop();
}

/* ---- documents that are of no use ---- */

/* An extension nobody knows goes in front of an element, and the whole is signed again. */
static struct writer with_mandatory_extension(uint16_t sequence, const struct credential *signer) {
	struct writer plain = write_document(sequence), w = writer_growing(CONFIG_DOCUMENT_MAX), block = writer_growing(16384);
	static const char element[] = "<no-ice>", extension[] = "<mandatory-extension>urn:example:new</mandatory-extension>";
	struct octets all = writer_octets_written(&plain);
	const uint8_t *at = memmem(all.data, all.length, element, strlen(element)),
		      *start = memmem(all.data, all.length, "<configuration ", 15),
		      *end = memmem(all.data, all.length, "</configuration>", 16);
	char base64[20000];

	assert_true(at && start && end);
	end += 16;
	writer_raw(&w, all.data, (size_t)(start - all.data));
	size_t begin = w.length;
	writer_raw(&w, start, (size_t)(at - start));
	writer_octets(&w, octets_of_string(extension));
	writer_raw(&w, at, (size_t)(end - at));
	assert_int_equal(security_block_make(signer, OCTETS(w.data + begin, w.length - begin), &block), 0);
	EVP_EncodeBlock((uint8_t *)base64, block.data, (int)block.length);
	writer_octets(&w, octets_of_string("<signature>"));
	writer_octets(&w, octets_of_string(base64));
	writer_octets(&w, octets_of_string("</signature></overlay>"));
	assert_int_equal(writer_finish(&w), 0);
	writer_release(&plain);
	writer_release(&block);
	return w;
}

static void useless_documents_change_nothing(void **state) {
	char reason[CONFIG_REASON_SIZE];

	(void)state;
	start(&(struct document_settings){.sequence = 5, .no_ice = true}, 2);
	connect_all();
	struct credential *stranger =
		support_credential(&net.overlay, "stranger@example.org", (struct id[]){support_node_id(7)}, 1);
	struct writer noise = writer_growing(64);
	writer_octets(&noise, octets_of_string("<overlay>"));
	struct {
		struct writer document;
		enum configuration_outcome outcome;
		const char *sentence;
	} cases[] = {
		{write_document(4), CONFIGURATION_STALE, "Sequence number 4 is not newer than 5."},
		{write_document(5), CONFIGURATION_STALE, "Sequence number 5 is not newer than 5."},
		{write_with((struct document_settings){.sequence = 6, .overlay_name = "other.example.net"}, net.overlay.signer),
		 CONFIGURATION_OTHER_OVERLAY, "no configuration for overlay " SUPPORT_OVERLAY_NAME},
		{write_with((struct document_settings){.sequence = 6}, NULL), CONFIGURATION_BAD_SIGNATURE, "is not signed"},
		{write_with((struct document_settings){.sequence = 6}, stranger), CONFIGURATION_BAD_SIGNATURE,
		 "not among those the configuration allows"},
		{write_with((struct document_settings){.sequence = 6, .expiration_ms = SUPPORT_NOT_BEFORE_MS}, net.overlay.signer),
		 CONFIGURATION_EXPIRED, "has expired"},
		{noise, CONFIGURATION_MALFORMED, ""},
		{with_mandatory_extension(6, stranger), CONFIGURATION_BAD_SIGNATURE, "not among those"},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		uint64_t before = outcomes(0, cases[i].outcome);
		assert_int_equal(offer(0, &cases[i].document, reason), cases[i].outcome);
		assert_non_null(strstr(reason, cases[i].sentence));
		assert_int_equal(outcomes(0, cases[i].outcome), before + 1);
		writer_release(&cases[i].document);
	}
	router_net_run_ms(&net, 20000);
	assert_int_equal(sequence_of(0), 5);
	assert_int_equal(heards[0].changed + heards[0].unsupported, 0);
	assert_int_equal(sent_by_all(), 0);
	credential_unref(stranger);
	stop();
}

/* Genuine, but more than we can do: the node has to go, and knows why when it is started again. */
static void unsupported_document_makes_leave(void **state) {
	struct stat status;

	(void)state;
	start(NULL, 1);
	configurations[0] = configuration_free(configurations[0]);
	start_one(0, path);
	struct writer w = with_mandatory_extension(2, net.overlay.signer);
	assert_int_equal(offer(0, &w, NULL), CONFIGURATION_UNSUPPORTED);
	assert_int_equal(heards[0].unsupported, 1);
	assert_non_null(strstr(heards[0].reason, "urn:example:new"));
	assert_int_equal(heards[0].changed, 0);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, w.length);
	writer_release(&w);
	unlink(path);
	stop();
}

static int push(size_t from, size_t to, const struct writer *document, struct router_net_outcome *outcome) {
	struct writer body = writer_growing(CONFIG_DOCUMENT_MAX + 64);

	config_update_write_config(&body, writer_octets_written(document));
	struct outgoing outgoing = {OUTGOING_DEFAULT,	       .destination_list = router_net_node_list(&net.nodes[to].id),
				    .code = CONFIG_UPDATE_REQ, .body = writer_octets_written(&body),
				    .config_update = true,     .done = router_net_on_response,
				    .userdata = outcome};
	*outcome = (struct router_net_outcome){.net = &net};
	int error = router_send_request(net.nodes[from].router, &outgoing, NULL);
	writer_release(&body);
	router_net_run_ms(&net, 1000);
	return error;
}

static void useless_senders_have_to_wait(void **state) {
	struct router_net_outcome outcome;

	(void)state;
	start(NULL, 3);
	connect_all();
	struct credential *stranger =
		support_credential(&net.overlay, "stranger@example.org", (struct id[]){support_node_id(7)}, 1);
	struct writer forged = write_with((struct document_settings){.sequence = 2}, stranger), good = write_document(2);
	assert_int_equal(push(1, 0, &forged, &outcome), 0);
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
	assert_int_equal(push(1, 0, &good, &outcome), 0);
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
	assert_int_equal(outcomes(0, CONFIGURATION_BAD_SIGNATURE), 1);
	assert_int_equal(outcomes(0, CONFIGURATION_LIMITED), 1);
	assert_int_equal(sequence_of(0), 1);
	/* Others are not made to wait for it, nor is he for ever. */
	assert_int_equal(push(2, 0, &good, &outcome), 0);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(sequence_of(0), 2);
	router_net_run_ms(&net, CONFIGURATION_PAUSE_S * 1000);
	struct writer third = write_document(3);
	assert_int_equal(push(1, 0, &third, &outcome), 0);
	assert_int_equal(outcome.error, 0);
	writer_release(&forged);
	writer_release(&good);
	writer_release(&third);
	credential_unref(stranger);
	stop();
}

/* ---- documents that do not fit ---- */

static void too_large_to_be_sent(void **state) {
	enum { BAD = 200 };
	static struct id bad[BAD];
	struct router_net_outcome outcome;

	(void)state;
	start(NULL, 2);
	connect_all();
	for (size_t i = 0; i < BAD; i++) {
		bad[i] = support_node_id(1);
		bad[i].octets[15] = (uint8_t)i;
	}
	struct writer w =
		write_with((struct document_settings){.sequence = 2, .bad_nodes = bad, .bad_node_count = BAD}, net.overlay.signer);
	assert_true(w.length > router_config(net.nodes[0].router)->max_message_size);
	assert_int_equal(offer(0, &w, NULL), CONFIGURATION_APPLIED);
	router_net_run_ms(&net, 1000);
	assert_int_equal(sequence_of(1), 1);
	assert_int_equal(configuration_spread_figures(configurations[0])->too_large, 1);
	assert_int_equal(sent_by_all(), 0);
	assert_true(router_net_linked(&net.nodes[0], &net.nodes[1])); /* nobody closes a link for it */
	/* The other one notices as soon as they speak, and asks the configuration server. */
	ping(0, 1, &outcome);
	router_net_run_ms(&net, CONFIGURATION_MISSING_S * 1000 - 100);
	assert_int_equal(heards[1].missing, 0);
	router_net_run_ms(&net, CONFIGURATION_MISSING_S * 1000 + 1000);
	assert_int_equal(heards[1].missing, 1);
	/* What it gets there makes them equal. */
	assert_int_equal(offer(1, &w, NULL), CONFIGURATION_APPLIED);
	ping(0, 1, &outcome);
	router_net_run_ms(&net, 1000);
	assert_int_equal(outcome.error, 0);
	writer_release(&w);
	stop();
}

/* A longer document in several pieces is no different from a short one. */
static void fragments(void **state) {
	enum { BAD = 200 };
	static struct id bad[BAD];

	(void)state;
	start(&(struct document_settings){.sequence = 1, .no_ice = true, .max_message_size = 20000}, 2);
	connect_all();
	for (size_t i = 0; i < BAD; i++) {
		bad[i] = support_node_id(1);
		bad[i].octets[15] = (uint8_t)i;
	}
	struct writer w = write_with(
		(struct document_settings){.sequence = 2, .bad_nodes = bad, .bad_node_count = BAD, .max_message_size = 20000},
		net.overlay.signer);
	assert_true(w.length > 9000);
	assert_int_equal(offer(0, &w, NULL), CONFIGURATION_APPLIED);
	router_net_run_ms(&net, 1000);
	assert_int_equal(sequence_of(1), 2);
	assert_true(router_counters(net.nodes[0].router)->fragments_sent > 0);
	writer_release(&w);
	stop();
}

/* ---- bad nodes ---- */

static void bad_nodes_are_not_heard(void **state) {
	struct router_net_outcome outcome;

	(void)state;
	start(NULL, 3);
	router_net_peers(&net.nodes[0], &net.nodes[1]);
	router_net_peers(&net.nodes[1], &net.nodes[2]);
	struct writer w = write_with((struct document_settings){.sequence = 2, .bad_nodes = &net.nodes[2].id, .bad_node_count = 1},
				     net.overlay.signer);
	assert_int_equal(offer(0, &w, NULL), CONFIGURATION_APPLIED);
	router_net_run_ms(&net, 1000);
	assert_int_equal(sequence_of(1), 2);
	uint64_t before = router_counters(net.nodes[1].router)->dropped[DROP_BAD_SIGNATURE];
	ping(2, 1, &outcome);
	router_net_run_ms(&net, 20000);
	assert_int_equal(outcome.error, -ETIMEDOUT);
	assert_true(router_counters(net.nodes[1].router)->dropped[DROP_BAD_SIGNATURE] > before);
	writer_release(&w);
	stop();
}

/* ---- Kinds ---- */

static const struct kind private_kind = {
	.id = 0xf0000001, .model = DATA_MODEL_SINGLE, .access = ACCESS_USER_MATCH, .max_count = 1, .max_size = 100};

static int push_kind(size_t from, size_t to, struct kind kind, const struct credential *signer,
		     struct router_net_outcome *outcome) {
	struct writer block = writer_growing(16384), body = writer_growing(32768);

	assert_int_equal(kind_block_write(&kind, signer, &block), 0);
	const struct octets octets = writer_octets_written(&block);
	config_update_write_kinds(&body, &octets, 1);
	struct outgoing outgoing = {OUTGOING_DEFAULT,	       .destination_list = router_net_node_list(&net.nodes[to].id),
				    .code = CONFIG_UPDATE_REQ, .body = writer_octets_written(&body),
				    .config_update = true,     .done = router_net_on_response,
				    .userdata = outcome};
	*outcome = (struct router_net_outcome){.net = &net};
	int error = router_send_request(net.nodes[from].router, &outgoing, NULL);
	writer_release(&block);
	writer_release(&body);
	router_net_run_ms(&net, 1000);
	return error;
}

static uint32_t size_of_kind(size_t i) {
	const struct kind *kind = overlay_config_kind(router_config(net.nodes[i].router), private_kind.id);

	return kind ? kind->max_size : 0;
}

static void kinds_are_learned(void **state) {
	struct id second_id = support_node_id(0x77);
	struct router_net_outcome outcome;
	struct kind kind = private_kind;

	(void)state;
	start(NULL, 2);
	connect_all();
	struct credential *second = support_credential(&net.overlay, "kinds@example.org", &second_id, 1);
	const struct id signers[] = {net.overlay.signer->node_id, second_id};
	configurations[0] = configuration_free(configurations[0]);
	start_one(0, path);

	/* Not a kind-signer. */
	assert_int_equal(push_kind(1, 0, kind, second, &outcome), 0);
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
	assert_int_equal(size_of_kind(0), 0);
	router_net_run_ms(&net, CONFIGURATION_PAUSE_S * 1000);

	struct writer w = write_with((struct document_settings){.sequence = 2, .kind_signers = signers, .kind_signer_count = 2},
				     net.overlay.signer);
	assert_int_equal(offer(0, &w, NULL), CONFIGURATION_APPLIED);
	writer_release(&w);
	router_net_run_ms(&net, 1000);
	assert_int_equal(push_kind(1, 0, kind, second, &outcome), 0);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(size_of_kind(0), 100);
	unsigned changed = heards[0].changed;
	kind.max_size = 200; /* by the same signer */
	assert_int_equal(push_kind(1, 0, kind, second, &outcome), 0);
	assert_int_equal(outcome.error, 0);
	assert_int_equal(size_of_kind(0), 200);
	assert_int_equal(heards[0].changed, changed + 1);
	kind.max_size = 300; /* by another one */
	assert_int_equal(push_kind(1, 0, kind, net.overlay.signer, &outcome), 0);
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
	assert_int_equal(size_of_kind(0), 200);
	assert_int_equal(configuration_figures(configurations[0])->kinds_learned, 2);
	assert_int_equal(configuration_figures(configurations[0])->kinds_refused, 2);

	/* They outlive a restart and a document under which their signer may still sign. */
	configurations[0] = configuration_free(configurations[0]);
	trust_set_config(net.nodes[0].trust, net.nodes[0].config);
	assert_int_equal(size_of_kind(0), 0);
	start_one(0, path); /* the document in force is the first again, which does not know the signer */
	assert_int_equal(size_of_kind(0), 0);
	struct overlay_config *loaded;
	char reason[CONFIG_REASON_SIZE];
	assert_int_equal(overlay_config_load(path, NULL, &loaded, reason), 0);
	trust_set_config(net.nodes[0].trust, loaded);
	overlay_config_unref(loaded);
	configurations[0] = configuration_free(configurations[0]);
	start_one(0, path);
	assert_int_equal(size_of_kind(0), 200);
	w = write_with((struct document_settings){.sequence = 3, .kind_signers = signers, .kind_signer_count = 2},
		       net.overlay.signer);
	assert_int_equal(offer(0, &w, NULL), CONFIGURATION_APPLIED);
	writer_release(&w);
	assert_int_equal(size_of_kind(0), 200);
	/* And go with their signer. */
	offer_new(0, 4);
	assert_int_equal(size_of_kind(0), 0);
	credential_unref(second);
	unlink(path);
	stop();
}

static void document_prevails_over_learned_kinds(void **state) {
	struct kind kind = private_kind;
	struct router_net_outcome outcome;

	(void)state;
	start(&(struct document_settings){.sequence = 1, .no_ice = true, .kinds = &kind, .kind_count = 1}, 2);
	connect_all();
	assert_int_equal(push_kind(1, 0, kind, net.overlay.signer, &outcome), 0);
	assert_int_equal(outcome.error, 0); /* nothing new */
	assert_int_equal(push_kind(1, 0, kind, net.overlay.signer, &outcome), 0);
	kind.max_size = 1;
	assert_int_equal(push_kind(1, 0, kind, net.overlay.signer, &outcome), 0);
	assert_int_equal(outcome.error_code, ERROR_FORBIDDEN);
	assert_int_equal(size_of_kind(0), 100);
	stop();
}

/* ---- when the server is asked ---- */

static void server_is_asked_at_random_times(void **state) {
	(void)state;
	start(NULL, 1);
	const struct runtime *runtime = router_runtime(net.nodes[0].router);
	uint64_t least = UINT64_MAX, most = 0;
	for (unsigned i = 0; i < 200; i++) {
		uint64_t pause_s = refresh_pause_s(runtime, UINT64_C(1000) * 36000, 0);
		least = pause_s < least ? pause_s : least;
		most = pause_s > most ? pause_s : most;
	}
	assert_in_range(least, 16200, 17500); /* half of nine tenths of ten hours */
	assert_in_range(most, 31000, 32400);
	assert_in_range(refresh_pause_s(runtime, UINT64_MAX, 0), REFRESH_DAY_S / 2, REFRESH_DAY_S);
	assert_in_range(refresh_pause_s(runtime, 0, 0), REFRESH_PAUSE_MIN_S, 2 * REFRESH_PAUSE_MIN_S);
	assert_in_range(refresh_pause_s(runtime, UINT64_MAX, 1), REFRESH_RETRY_S / 2, REFRESH_RETRY_S);
	assert_in_range(refresh_pause_s(runtime, UINT64_MAX, 2), REFRESH_RETRY_S, 2 * REFRESH_RETRY_S);
	assert_in_range(refresh_pause_s(runtime, UINT64_MAX, 1000), REFRESH_RETRY_MAX_S / 2, REFRESH_RETRY_MAX_S);
	stop();
}

static int setup(void **state) {
	(void)state;
	log_level = -1;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/overlay.xml", directory);
	return 0;
}

static int teardown(void **state) {
	char kinds[sizeof(path) + 8];

	(void)state;
	snprintf(kinds, sizeof(kinds), "%s.kinds", path);
	unlink(kinds);
	return rmdir(directory);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spreads_once_per_link),
		cmocka_unit_test(flooding_is_bounded),
		cmocka_unit_test(later_documents_overtake),
		cmocka_unit_test(heals_in_both_directions),
		cmocka_unit_test(stale_push_is_answered_with_ours),
		cmocka_unit_test(sequences_wrap),
		cmocka_unit_test(useless_documents_change_nothing),
		cmocka_unit_test(unsupported_document_makes_leave),
		cmocka_unit_test(useless_senders_have_to_wait),
		cmocka_unit_test(too_large_to_be_sent),
		cmocka_unit_test(fragments),
		cmocka_unit_test(bad_nodes_are_not_heard),
		cmocka_unit_test(kinds_are_learned),
		cmocka_unit_test(document_prevails_over_learned_kinds),
		cmocka_unit_test(server_is_asked_at_random_times),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
