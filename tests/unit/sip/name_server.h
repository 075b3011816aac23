/* SPDX-License-Identifier: BSD-2-Clause */
/* A name server of tests, on a loopback socket: it answers from a table when told to. Include after harness.h. */
#pragma once

#include "harness.h"
#include "sip/dns.h"

struct zone_record {
	const char *owner;
	enum dns_type type;
	const char *data; /* address; "priority weight port target"; "order preference flags service replacement" */
};

struct name_server {
	struct fixture *f;
	int fd;
	uint16_t port;
	char text[ADDRESS_TEXT_SIZE]; /* for the gateway's settings */
	const struct zone_record *zone;
	size_t zone_count, asked;
	uint32_t ttl;
	bool fails; /* SERVFAIL to everything */
	bool alias; /* everything is an alias of a name below "alias." */
};

HELPER void name_server_open(struct fixture *f, struct name_server *server) {
	*server = (struct name_server){.f = f, .ttl = 300};
	server->fd = fixture_phone(f, AF_INET, &server->port);
	snprintf(server->text, sizeof(server->text), "127.0.0.1:%u", server->port);
}

HELPER void write_domain(struct writer *w, const char *name) {
	for (const char *at = name; *at && strcmp(at, ".") != 0;) {
		size_t length = strcspn(at, ".");
		writer_u8(w, (uint8_t)length);
		writer_raw(w, at, length);
		at += length + (at[length] == '.');
	}
	writer_u8(w, 0);
}

HELPER void write_rdata(struct writer *w, const struct zone_record *record) {
	unsigned first = 0, second = 0, port = 0;
	char name[256] = "", flags[16] = "", service[32] = "";
	struct address address;

	switch (record->type) {
	case DNS_A:
	case DNS_AAAA:
		assert_int_equal(address_parse(record->data, 1, &address), 0);
		writer_raw(w, address.octets, record->type == DNS_A ? 4 : 16);
		return;
	case DNS_SRV:
		assert_int_equal(sscanf(record->data, "%u %u %u %255s", &first, &second, &port, name), 4);
		writer_u16(w, (uint16_t)first);
		writer_u16(w, (uint16_t)second);
		writer_u16(w, (uint16_t)port);
		break;
	case DNS_NAPTR:
		assert_int_equal(sscanf(record->data, "%u %u %15s %31s %255s", &first, &second, flags, service, name), 5);
		writer_u16(w, (uint16_t)first);
		writer_u16(w, (uint16_t)second);
		writer_vector8(w, octets_of_string(flags));
		writer_vector8(w, octets_of_string(service));
		writer_vector8(w, OCTETS_NONE);
		break;
	}
	write_domain(w, name);
}

/* The answer to a question, as its owner name and type say. */
HELPER void write_answer(const struct name_server *server, struct octets question, const char *name, unsigned type,
			 struct writer *w) {
	size_t count = server->alias, known = 0;

	for (size_t i = 0; i < server->zone_count; i++) {
		known += strcasecmp(server->zone[i].owner, name) == 0;
		count += strcasecmp(server->zone[i].owner, name) == 0 && server->zone[i].type == type;
	}
	writer_u16(w, (uint16_t)(question.data[0] << 8 | question.data[1]));
	writer_u16(w, server->fails ? 0x8182 : known > 0 ? 0x8180 : 0x8183);
	writer_u16(w, 1);
	writer_u16(w, (uint16_t)(server->fails ? 0 : count));
	writer_u16(w, !server->fails && count == 0);
	writer_u16(w, 0);
	write_domain(w, name);
	writer_u16(w, (uint16_t)type);
	writer_u16(w, 1);
	char alias[300];
	snprintf(alias, sizeof(alias), "alias.%s", name);
	if (server->alias) {
		writer_u16(w, 0xc00c);
		writer_u16(w, 5);
		writer_u16(w, 1);
		writer_u32(w, 7);
		size_t mark = writer_begin(w, 2);
		write_domain(w, alias);
		writer_end(w, mark, 2);
	}
	for (size_t i = 0; i < server->zone_count && !server->fails; i++) {
		if (strcasecmp(server->zone[i].owner, name) != 0 || server->zone[i].type != type)
			continue;
		if (server->alias)
			write_domain(w, alias);
		else
			writer_u16(w, 0xc00c);
		writer_u16(w, (uint16_t)type);
		writer_u16(w, 1);
		writer_u32(w, server->ttl);
		size_t mark = writer_begin(w, 2);
		write_rdata(w, &server->zone[i]);
		writer_end(w, mark, 2);
	}
	if (!server->fails && count == 0) { /* SOA */
		writer_u16(w, 0xc00c);
		writer_u16(w, 6);
		writer_u16(w, 1);
		writer_u32(w, 1000);
		size_t mark = writer_begin(w, 2);
		write_domain(w, "ns.example.net");
		write_domain(w, "admin.example.net");
		for (unsigned i = 0; i < 4; i++)
			writer_u32(w, 3600);
		writer_u32(w, 20);
		writer_end(w, mark, 2);
	}
}

/* Answers what has come. True when something has. */
HELPER bool name_server_answer(struct name_server *server) {
	uint8_t query[512], answer[4096];
	struct sockaddr_storage source;
	socklen_t source_length = sizeof(source);
	ssize_t length = recvfrom(server->fd, query, sizeof(query), MSG_DONTWAIT, (struct sockaddr *)&source, &source_length);

	if (length < 0)
		return false;
	struct reader r = reader_of(query, (size_t)length);
	char name[256] = "";
	reader_octets(&r, 12);
	for (uint8_t label = reader_u8(&r); label > 0; label = reader_u8(&r)) {
		struct octets octets = reader_octets(&r, label);
		snprintf(name + strlen(name), sizeof(name) - strlen(name), "%s%.*s", name[0] ? "." : "", (int)octets.length,
			 (const char *)octets.data);
	}
	unsigned type = reader_u16(&r);
	assert_int_equal(r.error, 0);
	struct writer w = writer_fixed(answer, sizeof(answer));
	write_answer(server, OCTETS(query, 12), name, type, &w);
	assert_int_equal(writer_finish(&w), 0);
	server->asked++;
	assert_int_equal(sendto(server->fd, answer, w.length, 0, (struct sockaddr *)&source, source_length), (ssize_t)w.length);
	return true;
}

/* All questions are asked and answered. */
HELPER void name_server_run(struct name_server *server) {
	do
		advance(server->f, USEC_PER_MSEC); /* what a timer does now fires no other timer now */
	while (name_server_answer(server));
}
