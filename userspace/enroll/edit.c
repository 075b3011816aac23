/* SPDX-License-Identifier: BSD-2-Clause */
#include "enroll/edit.h"

#include "base/runtime.h"
#include "overlay/signature.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

enum { PREFIX_MAX = 64, BASE64_LINE = 48 /* octets */ };

static int fail(char *reason, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(char *reason, int error, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, PROVISION_REASON_SIZE, format, arguments);
	va_end(arguments);
	return error;
}

static uint64_t now_ms(void) {
	struct runtime_source source = runtime_source_system();

	return source.realtime_ms(source.userdata);
}

/* ---- the text ---- */

struct start_tag {
	char prefix[PREFIX_MAX];	  /* "" or "p:" */
	size_t value, value_end, tag_end; /* of the attribute sequence, between its quotes; behind '>' */
};

/* `text` passed the XML parser, so quotes and brackets are where they belong. */
static int find_start_tag(const char *text, struct start_tag *ret) {
	struct start_tag tag = {.value = 0};
	size_t at = text[0] == '<' ? 1 : 0, name = at;

	at += strcspn(text + at, " \t\r\n>/");
	const char *colon = memchr(text + name, ':', at - name);
	size_t prefix = colon ? (size_t)(colon - text) - name + 1 : 0;
	if (prefix >= sizeof(tag.prefix))
		return -EBADMSG;
	memcpy(tag.prefix, text + name, prefix);
	for (;;) {
		at += strspn(text + at, " \t\r\n");
		if (text[at] == '>' && tag.value > 0) {
			tag.tag_end = at + 1;
			*ret = tag;
			return 0;
		}
		size_t attribute = at;
		at += strcspn(text + at, " \t\r\n=>");
		size_t length = at - attribute;
		at += strcspn(text + at, "\"'>");
		if (length == 0 || (text[at] != '"' && text[at] != '\''))
			return -EBADMSG;
		char quote[2] = {text[at++], 0};
		size_t end = at + strcspn(text + at, quote);
		if (length == strlen("sequence") && strncmp(text + attribute, "sequence", length) == 0) {
			tag.value = at;
			tag.value_end = end;
		}
		if (!text[end])
			return -EBADMSG;
		at = end + 1;
	}
}

static void print(struct writer *w, const char *text) {
	writer_raw(w, text, strlen(text));
}

static void print_base64(struct writer *w, struct octets octets) {
	struct reader r = reader_of_octets(octets);
	unsigned char line[BASE64_LINE / 3 * 4 + 1];

	while (reader_more(&r)) {
		struct octets part = reader_octets(&r, reader_left(&r) < BASE64_LINE ? reader_left(&r) : BASE64_LINE);
		int length = EVP_EncodeBlock(line, part.data, (int)part.length);
		writer_raw(w, line, (size_t)length);
		writer_u8(w, '\n');
	}
}

/* A copy of `octets` as a string. NULL without memory, or when there is a NUL in it. */
static char *text_of(struct octets octets) {
	if (memchr(octets.data, 0, octets.length))
		return NULL;
	return strndup((const char *)octets.data, octets.length);
}

/* The document around its only configuration: what stands before it, then `configuration`, its signature, and the closing tag. */
static int assemble(const struct overlay_config *config, struct octets configuration, const char *prefix,
		    const struct credential *signer, struct writer *w) {
	_cleanup_(writer_release) struct writer block = writer_growing(2 * CERTIFICATE_SIZE_MAX);
	_cleanup_free_ char *document = text_of(OCTETS(config->document, config->document_length));
	size_t before = (size_t)(config->configuration.data - config->document);

	const char *closing = document ? strrchr(document, '<') : NULL;
	if (!closing)
		return -EBADMSG;
	int error = security_block_make(signer, configuration, &block);
	if (error < 0)
		return error;
	writer_raw(w, document, before);
	writer_octets(w, configuration);
	print(w, "\n  <");
	print(w, prefix);
	print(w, "signature>\n");
	print_base64(w, writer_octets_written(&block));
	print(w, "  </");
	print(w, prefix);
	print(w, "signature>\n");
	print(w, closing);
	return writer_finish(w);
}

static int change_configuration(const struct overlay_config *config, const struct document_change *change, const char *text,
				const struct start_tag *tag, struct writer *w) {
	unsigned sequence = change->bump ? (config->sequence + 1U) % SEQUENCE_MODULUS : config->sequence; /* */
	char number[8], id_text[ID_TEXT_SIZE];

	snprintf(number, sizeof(number), "%u", sequence);
	writer_raw(w, text, tag->value);
	print(w, number);
	writer_raw(w, text + tag->value_end, tag->tag_end - tag->value_end);
	if (change->bad_node) { /* B-11.1-06 */
		print(w, "\n    <");
		print(w, tag->prefix);
		print(w, "bad-node>");
		print(w, id_format(change->bad_node, id_text));
		print(w, "</");
		print(w, tag->prefix);
		print(w, "bad-node>");
	}
	print(w, text + tag->tag_end);
	return writer_finish(w);
}

int document_change(const struct overlay_config *config, const struct document_change *change, const struct credential *signer,
		    struct writer *w, char reason[static PROVISION_REASON_SIZE]) {
	_cleanup_(writer_release) struct writer configuration = writer_growing(CONFIG_DOCUMENT_MAX);
	_cleanup_free_ char *text = text_of(config->configuration);
	struct start_tag tag;

	if (!text || find_start_tag(text, &tag) < 0)
		return fail(reason, -EBADMSG, "The start tag of the configuration is not one this program can change.");
	if (change->bad_node && overlay_config_is_bad_node(config, change->bad_node))
		return fail(reason, -EEXIST, "The Node-ID is listed as a bad node already.");
	if (change->bad_node && config->bad_node_count == CONFIG_BAD_NODES_MAX)
		return fail(reason, -E2BIG, "The document lists %d bad nodes already; no more fit.", CONFIG_BAD_NODES_MAX);
	int error = change_configuration(config, change, text, &tag, &configuration);
	if (error == 0)
		error = assemble(config, writer_octets_written(&configuration), tag.prefix, signer, w);
	return error < 0 ? fail(reason, error, "The changed document cannot be made: %s.", strerror(-error)) : 0;
}

/* ---- files ---- */

int edit_write_file(const char *path, struct octets content, mode_t mode) {
	char temporary[PATH_MAX], parent[PATH_MAX];
	struct stat status;
	int error = 0;

	if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= PATH_MAX)
		return -ENAMETOOLONG;
	_cleanup_close_ int fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(parent, sizeof(parent), "%s", path);
	_cleanup_close_ int directory = open(dirname(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0 || fstat(directory, &status) < 0 || fchmod(fd, mode) < 0 ||
	    (geteuid() == 0 && fchown(fd, status.st_uid, status.st_gid) < 0))
		error = -errno;
	for (struct reader r = reader_of_octets(content); error == 0 && reader_more(&r);) {
		struct octets rest = reader_rest(&r);
		ssize_t written = write(fd, rest.data, rest.length);
		if (written < 0 && errno != EINTR)
			error = -errno;
		r = reader_of_octets(rest);
		reader_octets(&r, written > 0 ? (size_t)written : 0);
	}
	if (error == 0 && (fsync(fd) < 0 || rename(temporary, path) < 0 || fsync(directory) < 0))
		error = -errno;
	if (error < 0)
		unlink(temporary);
	return error;
}

static int path_join(char path[static PATH_MAX], const char *directory, const char *name, char *reason) {
	return snprintf(path, PATH_MAX, "%s/%s", directory, name) < PATH_MAX
		       ? 0
		       : fail(reason, -ENAMETOOLONG, "The path %.200s is too long.", directory);
}

static int load_document(const char *path, struct overlay_config **ret, char *reason) {
	char sentence[CONFIG_REASON_SIZE] = "";

	int error = overlay_config_load(path, NULL, ret, sentence);
	return error < 0 ? fail(reason, error, "%.200s cannot be used: %.250s", path, sentence[0] ? sentence : strerror(-error))
			 : 0;
}

static int load_signer(const char *directory, const char *overlay_name, struct credential **ret, char *reason) {
	char certificate_path[PATH_MAX], key_path[PATH_MAX];

	if (path_join(certificate_path, directory, "signer.crt", reason) < 0 ||
	    path_join(key_path, directory, "signer.key", reason) < 0)
		return -ENAMETOOLONG;
	return credential_load(certificate_path, key_path, overlay_name, ID_LENGTH_CHORD, ret, reason, PROVISION_REASON_SIZE);
}

/* Nothing that nodes of the overlay would refuse is written. */
static int replace_document(const char *path, const struct overlay_config *current, struct octets document, uint16_t *ret_sequence,
			    char *reason) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *next = NULL;

	int error = overlay_config_parse(document, NULL, &next, reason);
	if (error == 0 && current)
		error = overlay_config_check_successor(current, next, now_ms(), reason);
	if (error == 0 && (error = edit_write_file(path, document, next->shared_secret ? 0600 : 0644)) < 0) /* B-13.4-02 */
		fail(reason, error, "%.300s cannot be written: %s.", path, strerror(-error));
	if (error == 0)
		*ret_sequence = next->sequence;
	return error;
}

int edit_overlay(const char *directory, const struct document_change *change, uint16_t *ret_sequence,
		 char reason[static PROVISION_REASON_SIZE]) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	_cleanup_(credential_unrefp) struct credential *signer = NULL;
	_cleanup_(writer_release) struct writer w = writer_growing(CONFIG_DOCUMENT_MAX);
	char path[PATH_MAX];

	int error = path_join(path, directory, "overlay.xml", reason);
	if (error == 0)
		error = load_document(path, &config, reason);
	if (error == 0)
		error = load_signer(directory, config->overlay_name, &signer, reason);
	if (error == 0)
		error = document_change(config, change, signer, &w, reason);
	return error < 0 ? error : replace_document(path, config, writer_octets_written(&w), ret_sequence, reason);
}

int edit_sign(const char *directory, const char *path, uint16_t *ret_sequence, char reason[static PROVISION_REASON_SIZE]) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *current = NULL, *edited = NULL;
	_cleanup_(credential_unrefp) struct credential *signer = NULL;
	_cleanup_(writer_release) struct writer w = writer_growing(CONFIG_DOCUMENT_MAX);
	static const struct document_change nothing;
	char current_path[PATH_MAX];

	int error = path_join(current_path, directory, "overlay.xml", reason);
	if (error == 0)
		error = load_document(current_path, &current, reason);
	if (error == 0)
		error = load_document(path, &edited, reason);
	if (error == 0)
		error = load_signer(directory, current->overlay_name, &signer, reason);
	if (error == 0)
		error = document_change(edited, &nothing, signer, &w, reason);
	return error < 0 ? error : replace_document(current_path, current, writer_octets_written(&w), ret_sequence, reason);
}

int edit_publish(const char *directory, uint16_t *ret_sequence, char reason[static PROVISION_REASON_SIZE]) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL, *published = NULL;
	char path[PATH_MAX], published_path[PATH_MAX];

	int error = path_join(path, directory, "overlay.xml", reason);
	if (error == 0)
		error = path_join(published_path, directory, "published.xml", reason);
	if (error == 0)
		error = load_document(path, &config, reason);
	if (error == 0 && access(published_path, F_OK) == 0)
		error = load_document(published_path, &published, reason);
	if (error != 0)
		return error;
	if (published && published->document_length == config->document_length &&
	    memcmp(published->document, config->document, config->document_length) == 0) {
		*ret_sequence = config->sequence;
		return 0;
	}
	return replace_document(published_path, published, OCTETS(config->document, config->document_length), ret_sequence, reason);
}
