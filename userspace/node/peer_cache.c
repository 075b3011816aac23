/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/peer_cache.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum { LINE_MAX_OCTETS = ADDRESS_TEXT_SIZE + ID_TEXT_SIZE + 28, FIELDS = 4 };

bool peer_address_usable(const struct address *address) {
	static const uint8_t any[sizeof(address->octets)] = {0}, broadcast[4] = {255, 255, 255, 255};

	if (address->port == 0 || memcmp(address->octets, any, sizeof(any)) == 0)
		return false;
	if (address->family == AF_INET)
		return (address->octets[0] & 0xf0) != 0xe0 && address->octets[0] != 0 &&
		       memcmp(address->octets, broadcast, sizeof(broadcast)) != 0;
	return address->family == AF_INET6 && address->octets[0] != 0xff;
}

/* ---- the file ---- */

static int parse_seconds(const char *text, uint64_t *ret) {
	uint64_t value = 0;

	for (; *text; text++) {
		if (*text < '0' || *text > '9' || value > UINT64_MAX / 1000)
			return -EINVAL;
		value = value * 10 + (uint64_t)(*text - '0');
	}
	*ret = value;
	return 0;
}

static int parse_line(char *line, struct cached_peer *ret) {
	struct cached_peer peer = {.id = ID_NONE};
	char *fields[FIELDS + 1] = {NULL}, *state = NULL;
	size_t count = 0;

	for (char *word = strtok_r(line, " \t", &state); word && count <= FIELDS; word = strtok_r(NULL, " \t", &state))
		fields[count++] = word;
	if (count == 0 || count > FIELDS || address_parse(fields[0], RELOAD_PORT, &peer.address) < 0 ||
	    !peer_address_usable(&peer.address))
		return -EINVAL;
	if (count > 1 && (id_parse(fields[1], &peer.id) < 0 || id_is_zero(&peer.id) || id_is_wildcard(&peer.id)))
		return -EINVAL;
	if (count > 2 && parse_seconds(fields[2], &peer.seen_s) < 0)
		return -EINVAL;
	if (count > 3 && strcmp(fields[3], "tcp") != 0 && strcmp(fields[3], "udp") != 0)
		return -EINVAL;
	if (count > 3 && strcmp(fields[3], "tcp") == 0)
		peer.address.protocol = IPPROTO_TCP;
	*ret = peer;
	return 0;
}

static bool known(const struct cached_peer *peers, size_t count, const struct cached_peer *peer) {
	for (size_t i = 0; i < count; i++)
		if (address_same(&peers[i].address, &peer->address) ||
		    (!id_is_none(&peer->id) && id_equal(&peers[i].id, &peer->id)))
			return true;
	return false;
}

size_t peer_cache_read(struct octets text, struct cached_peer *out, size_t max, size_t *ret_bad) {
	struct reader r = reader_of_octets(text);
	char line[LINE_MAX_OCTETS];
	size_t count = 0, bad = 0;

	while (reader_more(&r)) {
		size_t length = 0;
		bool fits = true;
		struct cached_peer peer;
		for (uint8_t octet; reader_more(&r) && (octet = reader_u8(&r)) != '\n';) {
			fits = fits && octet != 0 && length + 1 < sizeof(line);
			if (fits)
				line[length++] = (char)octet;
		}
		line[length] = 0;
		if (fits && (length == 0 || line[0] == '#'))
			continue;
		if (!fits || parse_line(line, &peer) < 0)
			bad++;
		else if (count < max && !known(out, count, &peer))
			out[count++] = peer;
	}
	if (ret_bad)
		*ret_bad = bad;
	return count;
}

void peer_cache_write(struct writer *w, const struct cached_peer *peers, size_t count) {
	char line[LINE_MAX_OCTETS], address[ADDRESS_TEXT_SIZE], id[ID_TEXT_SIZE];

	for (size_t i = 0; i < count; i++) {
		address_format(&peers[i].address, address);
		if (id_is_none(&peers[i].id))
			snprintf(line, sizeof(line), "%s\n", address);
		else
			snprintf(line, sizeof(line), "%s %s %" PRIu64 "%s\n", address, id_format(&peers[i].id, id), peers[i].seen_s,
				 peers[i].address.protocol == IPPROTO_TCP ? " tcp" : "");
		writer_octets(w, octets_of_string(line));
	}
}

int peer_cache_load(const char *path, struct cached_peer out[static PEER_CACHE_MAX], size_t *ret_count, size_t *ret_bad) {
	char text[PEER_CACHE_OCTETS];
	/* A FIFO in its place must not stop the start. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t length = 0;

	if (fd < 0)
		return -errno;
	while (length < sizeof(text)) {
		ssize_t count = read(fd, text + length, sizeof(text) - length);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -errno;
		if (count == 0)
			break;
		length += (size_t)count;
	}
	*ret_count = peer_cache_read(OCTETS(text, length), out, PEER_CACHE_MAX, ret_bad);
	return 0;
}

int peer_cache_save(const char *path, const struct cached_peer *peers, size_t count) {
	char temporary[PATH_MAX], text[PEER_CACHE_OCTETS];
	struct writer w = writer_fixed(text, sizeof(text));

	writer_octets(
		&w, octets_of_string(
			    "# Peers to come back through: address, Node-ID, when seen, tcp if over TCP. Written by ringgated.\n"));
	peer_cache_write(&w, peers, count);
	if (writer_finish(&w) < 0)
		return -ENOBUFS;
	if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	_cleanup_close_ int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	struct octets octets = writer_octets_written(&w);
	ssize_t written = write(fd, octets.data, octets.length);
	int error = written < 0 ? -errno : (size_t)written != octets.length ? -EIO : 0;
	if (error == 0 && rename(temporary, path) < 0)
		error = -errno;
	if (error < 0)
		unlink(temporary);
	return error;
}

/* ---- lost peers ---- */

static uint64_t jitter(const struct lost_peers *lost, uint64_t interval_us) {
	return interval_us - interval_us / 4 + runtime_random_below(lost->runtime, interval_us / 2 + 1);
}

static struct lost_peer *lost_find(struct lost_peers *lost, const struct id *id) {
	for (size_t i = 0; i < lost->count; i++)
		if (id_equal(&lost->entries[i].peer.id, id))
			return &lost->entries[i];
	return NULL;
}

static void lost_remove(struct lost_peers *lost, struct lost_peer *entry) {
	*entry = lost->entries[--lost->count];
}

void lost_peers_add(struct lost_peers *lost, const struct cached_peer *peer) {
	struct lost_peer *entry;

	if (id_is_none(&peer->id) || !peer_address_usable(&peer->address))
		return;
	entry = lost_find(lost, &peer->id);
	if (!entry && lost->count < PEER_LOST_MAX) {
		entry = &lost->entries[lost->count++];
	} else if (!entry) {
		entry = &lost->entries[0];
		for (size_t i = 1; i < lost->count; i++)
			if (lost->entries[i].lost_us < entry->lost_us)
				entry = &lost->entries[i];
	}
	*entry = (struct lost_peer){
		.peer = *peer,
		.lost_us = lost->runtime->now_us,
		.due_us = lost->runtime->now_us + jitter(lost, PEER_LOST_FIRST_S * USEC_PER_SEC),
	};
}

bool lost_peers_found(struct lost_peers *lost, const struct id *id) {
	struct lost_peer *entry = lost_find(lost, id);

	if (!entry)
		return false;
	lost_remove(lost, entry);
	for (size_t i = 0; i < lost->count; i++) {
		uint64_t soon_us = lost->runtime->now_us + runtime_random_below(lost->runtime, PEER_LOST_SOON_S * USEC_PER_SEC);
		lost->entries[i].failures = 0;
		if (lost->entries[i].due_us > soon_us)
			lost->entries[i].due_us = soon_us;
	}
	return true;
}

struct lost_peer *lost_peers_due(struct lost_peers *lost) {
	struct lost_peer *first = NULL;

	for (size_t i = 0; i < lost->count; i++)
		if (lost->entries[i].due_us <= lost->runtime->now_us && (!first || lost->entries[i].due_us < first->due_us))
			first = &lost->entries[i];
	return first;
}

void lost_peers_tried(struct lost_peers *lost, struct lost_peer *entry) {
	uint64_t pause_us = PEER_LOST_LONGEST_S * USEC_PER_SEC;

	if (lost->runtime->now_us - entry->lost_us > PEER_LOST_AGE_S * USEC_PER_SEC) {
		lost_remove(lost, entry);
		return;
	}
	if (++entry->failures < 5)
		pause_us = PEER_LOST_FIRST_S * USEC_PER_SEC << entry->failures;
	entry->due_us = lost->runtime->now_us + jitter(lost, pause_us);
}

uint64_t lost_peers_next(const struct lost_peers *lost) {
	uint64_t next_us = USEC_NEVER;

	for (size_t i = 0; i < lost->count; i++)
		if (lost->entries[i].due_us < next_us)
			next_us = lost->entries[i].due_us;
	return next_us;
}
