/* SPDX-License-Identifier: BSD-2-Clause */
#include "overlay/document.h"

#include "base/runtime.h"
#include "overlay/config_xml.h"
#include "overlay/signature.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#define TEN_YEARS_MS (UINT64_C(3652) * 86400 * 1000)

enum { BASE64_LINE = 64, LINE_SIZE = 512 };

static void print(struct writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void print(struct writer *w, const char *format, ...) {
	char line[LINE_SIZE];
	va_list arguments;

	va_start(arguments, format);
	int length = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length >= sizeof(line))
		writer_fail(w, -EINVAL);
	else
		writer_raw(w, line, (size_t)length);
}

static void print_escaped(struct writer *w, const char *text) {
	for (; *text; text++) {
		if (*text == '<')
			print(w, "&lt;");
		else if (*text == '>')
			print(w, "&gt;");
		else if (*text == '&')
			print(w, "&amp;");
		else if (*text == '"')
			print(w, "&quot;");
		else
			writer_u8(w, (uint8_t)*text);
	}
}

static void print_element(struct writer *w, const char *indent, const char *name, const char *text) {
	print(w, "%s<%s>", indent, name);
	print_escaped(w, text);
	print(w, "</%s>\n", name);
}

static void print_number(struct writer *w, const char *indent, const char *name, uint64_t value) {
	print(w, "%s<%s>%" PRIu64 "</%s>\n", indent, name, value, name);
}

static void print_base64(struct writer *w, struct octets octets) {
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct reader r = reader_of_octets(octets);
	size_t column = 0;

	while (reader_more(&r)) {
		size_t left = reader_left(&r);
		uint32_t group = (uint32_t)reader_u8(&r) << 16;
		if (left > 1)
			group |= (uint32_t)reader_u8(&r) << 8;
		if (left > 2)
			group |= reader_u8(&r);
		if (column > 0 && column % BASE64_LINE == 0)
			writer_u8(w, '\n');
		writer_u8(w, (uint8_t)alphabet[group >> 18]);
		writer_u8(w, (uint8_t)alphabet[group >> 12 & 63]);
		writer_u8(w, (uint8_t)(left > 1 ? alphabet[group >> 6 & 63] : '='));
		writer_u8(w, (uint8_t)(left > 2 ? alphabet[group & 63] : '='));
		column += 4;
	}
}

static void print_time(struct writer *w, uint64_t time_ms) {
	time_t seconds = (time_t)(time_ms / 1000);
	struct tm tm;
	char text[64];

	if (!gmtime_r(&seconds, &tm) || tm.tm_year > 9999 - 1900 || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		writer_fail(w, -EINVAL);
	else
		print(w, "%s", text);
}

/* An element that holds the signature of what was written since `start` (B-6.3.4-09, Q-28). */
static void print_signature(struct writer *w, size_t start, const char *indent, const char *name, const struct credential *signer) {
	struct writer block = writer_growing(2 * CERTIFICATE_SIZE_MAX);
	struct reader written = reader_of_octets(writer_octets_written(w));

	reader_octets(&written, start);
	int r = writer_finish(w);
	if (r >= 0)
		r = security_block_make(signer, reader_rest(&written), &block);
	if (r < 0)
		writer_fail(w, r);
	else {
		print(w, "\n%s<%s>\n", indent, name);
		print_base64(w, writer_octets_written(&block));
		print(w, "\n%s</%s>\n", indent, name);
	}
	writer_release(&block);
}

static void print_domains(struct writer *w, const struct kind *kind) {
	if (kind->domain_rule == DOMAIN_ANY)
		return;
	print(w, "          <sip:domain-restrictions xmlns:sip=\"" NAMESPACE_SIP "\" enable=\"%s\">\n",
	      kind->domain_rule == DOMAIN_PATTERNS ? "true" : "false");
	for (size_t i = 0; i < kind->domain_pattern_count; i++)
		print_element(w, "            ", "sip:pattern", kind->domain_patterns[i]);
	print(w, "          </sip:domain-restrictions>\n");
}

int kind_block_write(const struct kind *kind, const struct credential *kind_signer, struct writer *w) {
	const char *model = data_model_name(kind->model), *policy = access_policy_name(kind->access);

	if (!model || !policy)
		return -EINVAL;
	print(w, "      <kind-block>\n        ");
	size_t start = w->length;
	if (kind_registered(kind->id))
		print(w, "<kind name=\"%s\">\n", kind_registered(kind->id)->name);
	else
		print(w, "<kind id=\"%" PRIu32 "\">\n", kind->id);
	print_element(w, "          ", "data-model", model);
	print_element(w, "          ", "access-control", policy);
	print_number(w, "          ", "max-count", kind->max_count);
	print_number(w, "          ", "max-size", kind->max_size);
	if (kind->access == ACCESS_NODE_MULTIPLE)
		print_number(w, "          ", "max-node-multiple", kind->max_node_multiple);
	print_domains(w, kind);
	print(w, "        </kind>");
	print_signature(w, start, "        ", "kind-signature", kind_signer);
	print(w, "      </kind-block>\n");
	return writer_finish(w);
}

static void print_root(struct writer *w, X509 *root) {
	uint8_t *der = NULL;
	int length = i2d_X509(root, &der);

	if (length < 0) {
		ERR_clear_error();
		writer_fail(w, -EINVAL);
		return;
	}
	print(w, "    <root-cert>\n");
	print_base64(w, OCTETS(der, (size_t)length));
	print(w, "\n    </root-cert>\n");
	OPENSSL_free(der);
}

static void print_node_ids(struct writer *w, const char *name, const struct id *ids, size_t count) {
	char text[ID_TEXT_SIZE];

	for (size_t i = 0; i < count; i++)
		print_element(w, "    ", name, id_format(&ids[i], text));
}

static void print_bootstrap(struct writer *w, const struct document_settings *settings) {
	char host[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < settings->bootstrap_count; i++)
		print(w, "    <bootstrap-node address=\"%s\" port=\"%u\"/>\n", address_format_host(&settings->bootstrap[i], host),
		      settings->bootstrap[i].port);
}

static void print_limits(struct writer *w, const struct document_settings *settings) {
	static const char indent[] = "    ";

	if (settings->turn_density_given)
		print_number(w, indent, "turn-density", settings->turn_density);
	if (settings->clients_forbidden)
		print_element(w, indent, "clients-permitted", "false"); /* B-11.1-14 */
	if (settings->no_ice)
		print_element(w, indent, "no-ice", "true");
	if (settings->shared_secret)
		print_element(w, indent, "shared-secret", settings->shared_secret);
	if (settings->max_message_size > 0)
		print_number(w, indent, "max-message-size", settings->max_message_size);
	if (settings->initial_ttl > 0)
		print_number(w, indent, "initial-ttl", settings->initial_ttl);
	if (settings->reliability_timer_ms > 0)
		print_number(w, indent, "overlay-reliability-timer", settings->reliability_timer_ms);
	if (settings->chord_update_interval_s > 0)
		print_number(w, indent, "chord:chord-update-interval", settings->chord_update_interval_s);
	if (settings->chord_ping_interval_s > 0)
		print_number(w, indent, "chord:chord-ping-interval", settings->chord_ping_interval_s);
}

static void print_required_kinds(struct writer *w, const struct document_settings *settings) {
	if (settings->kind_count == 0)
		return;
	print(w, "    <required-kinds>\n");
	for (size_t i = 0; i < settings->kind_count; i++) {
		int r = kind_block_write(&settings->kinds[i], settings->kind_signer, w);
		if (r < 0)
			writer_fail(w, r);
	}
	print(w, "    </required-kinds>\n");
}

static void print_configuration(struct writer *w, const struct document_settings *settings) {
	struct runtime_source system = runtime_source_system();
	uint64_t expiration_ms = settings->expiration_ms;

	if (expiration_ms == 0)
		expiration_ms = system.realtime_ms(system.userdata) + TEN_YEARS_MS;
	print(w, "<configuration instance-name=\"%s\" sequence=\"%u\" expiration=\"", settings->overlay_name, settings->sequence);
	print_time(w, expiration_ms);
	print(w, "\">\n");
	print_element(w, "    ", "topology-plugin", "CHORD-RELOAD");
	print_number(w, "    ", "node-id-length", ID_LENGTH_CHORD);
	for (size_t i = 0; i < settings->root_count; i++)
		print_root(w, settings->roots[i]);
	for (size_t i = 0; i < settings->enrollment_server_count; i++)
		print_element(w, "    ", "enrollment-server", settings->enrollment_servers[i]);
	if (settings->self_signed_digest)
		print(w, "    <self-signed-permitted digest=\"%s\">true</self-signed-permitted>\n", settings->self_signed_digest);
	print_bootstrap(w, settings);
	print_limits(w, settings);
	print_node_ids(w, "configuration-signer", settings->configuration_signers, settings->configuration_signer_count);
	print_node_ids(w, "kind-signer", settings->kind_signers, settings->kind_signer_count);
	print_node_ids(w, "bad-node", settings->bad_nodes, settings->bad_node_count);
	print_required_kinds(w, settings);
	print(w, "  </configuration>");
}

/* Whatever mistake the settings hold, the parser finds it before anybody is given the document. */
static int check_result(struct octets document) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	char reason[CONFIG_REASON_SIZE];
	int r = overlay_config_parse(document, NULL, &config, reason);

	return r < 0 && r != -ENOMEM ? -EINVAL : r;
}

int document_write(const struct document_settings *settings, const struct credential *signer, struct writer *w) {
	if (settings->kind_count > 0 && !settings->kind_signer)
		return -EINVAL;

	size_t begin = w->length;
	print(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<overlay xmlns=\"" NAMESPACE_BASE "\" xmlns:chord=\"" NAMESPACE_CHORD
		 "\">\n  ");
	size_t start = w->length;
	print_configuration(w, settings);
	if (signer) /* B-11.1-11 */
		print_signature(w, start, "  ", "signature", signer);
	else
		print(w, "\n");
	print(w, "</overlay>\n");
	int r = writer_finish(w);
	if (r < 0)
		return r;
	struct reader written = reader_of_octets(writer_octets_written(w));
	reader_octets(&written, begin);
	r = check_result(reader_rest(&written));
	if (r < 0)
		w->length = begin;
	return r;
}
