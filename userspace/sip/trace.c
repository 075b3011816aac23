/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What operators see: the latest messages, kept while somebody asks for them, and the calls that this gateway has placed. Both are
 * of bounded size and nobody waits for a reader: who is slow misses some and is told how many.
 */
#include "sip/proxy_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utlist.h>

/* --- texts --- */

/* The end of the user part when `text` begins with a SIP URI that has a password, and *ret_colon is where that begins. */
static const uint8_t *password_end(struct octets text, size_t *ret_colon) {
	size_t at = 0, colon = 0;

	if (text.length >= 4 && strncasecmp((const char *)text.data, "sip:", 4) == 0)
		at = 4;
	else if (text.length >= 5 && strncasecmp((const char *)text.data, "sips:", 5) == 0)
		at = 5;
	for (size_t i = at; at > 0 && i < text.length && !strchr("> \t\r\n\"", text.data[i]); i++) {
		if (text.data[i] == ':' && colon == 0)
			colon = i;
		if (text.data[i] == '@') {
			*ret_colon = colon;
			return colon > 0 ? &text.data[i] : NULL;
		}
	}
	return NULL;
}

/* Only what can be printed, and no passwords of URIs. */
static void copy_text(struct octets text, char *ret, size_t size) {
	struct reader r = reader_of_octets(text);
	size_t length = 0, colon = 0;

	while (length + 4 < size && reader_left(&r) > 0) {
		struct reader ahead = r;
		struct octets rest = reader_rest(&ahead);
		const uint8_t *end = password_end(rest, &colon);
		if (end) {
			for (size_t i = 0; i <= colon && length + 4 < size; i++)
				ret[length++] = (char)reader_u8(&r);
			ret[length++] = '*';
			reader_octets(&r, (size_t)(end - rest.data) - colon - 1);
			continue;
		}
		uint8_t c = reader_u8(&r);
		ret[length++] = c >= ' ' && c < 0x7f ? (char)c : c == '\t' || c == '\r' || c == '\n' ? ' ' : '?';
	}
	ret[length] = 0;
}

/* A From or To without its parameters. */
static struct octets without_parameters(struct octets value) {
	const uint8_t *end = value.length > 0 ? memrchr(value.data, '>', value.length) : NULL;

	if (end)
		value.length = (size_t)(end - value.data) + 1;
	else if (value.length > 0 && (end = memchr(value.data, ';', value.length)))
		value.length = (size_t)(end - value.data);
	return value;
}

/* --- messages --- */

struct trace_entry {
	uint64_t time_ms;
	bool sent;
	enum sip_transport transport;
	struct address peer;
	size_t octets;
	char start[160], from[160], to[160], call_id[96], cseq[32];
};

struct sip_trace {
	struct sip_gateway *gateway;
	uint64_t next; /* number of the next one */
	struct timer timer;
	struct trace_entry entries[SIP_TRACE_MESSAGES];
};

static void trace_free(struct sip_trace *trace) {
	timer_disarm(trace->gateway->runtime, &trace->timer);
	trace->gateway->trace_next = trace->next;
	trace->gateway->trace = NULL;
	free(trace);
}

static void on_timer(struct timer *timer, void *userdata) {
	(void)timer;
	trace_free(userdata);
}

void sip_trace_close(struct sip_gateway *gateway) {
	if (gateway->trace)
		trace_free(gateway->trace);
}

static struct octets start_of(const struct sip_frame *frame, char room[static 160]) {
	if (frame->response) {
		int length =
			snprintf(room, 160, "%u %.*s", frame->code, (int)(frame->phrase.length < 100 ? frame->phrase.length : 100),
				 (const char *)frame->phrase.data);
		return OCTETS(room, length > 0 ? (size_t)length : 0);
	}
	struct octets start = frame->start;
	if (frame->uri.length > 0)
		start.length = frame->method.length + 1 + frame->uri.length;
	return start;
}

void sip_trace_frame(struct sip_gateway *gateway, const struct sip_flow *flow, const struct address *peer,
		     const struct sip_frame *frame, bool sent) {
	struct sip_trace *trace = gateway->trace;
	struct trace_entry *entry = &trace->entries[trace->next++ % SIP_TRACE_MESSAGES];
	char room[160];

	entry->time_ms = runtime_realtime_ms(gateway->runtime);
	entry->sent = sent;
	entry->transport = flow->transport;
	entry->peer = *peer;
	entry->octets = frame->length;
	copy_text(start_of(frame, room), entry->start, sizeof(entry->start));
	copy_text(without_parameters(frame->field[SIP_FIELD_FROM]), entry->from, sizeof(entry->from));
	copy_text(without_parameters(frame->field[SIP_FIELD_TO]), entry->to, sizeof(entry->to));
	copy_text(frame->field[SIP_FIELD_CALL_ID], entry->call_id, sizeof(entry->call_id));
	copy_text(frame->field[SIP_FIELD_CSEQ], entry->cseq, sizeof(entry->cseq));
}

void sip_trace_sent(struct sip_gateway *gateway, const struct sip_flow *flow, const struct address *peer, struct octets octets) {
	struct sip_frame frame;

	if (gateway->trace && sip_frame_find(octets, false, &frame) == 0)
		sip_trace_frame(gateway, flow, peer, &frame, true);
}

static bool concerns(const struct trace_entry *entry, const char *aor) {
	return !aor || strcasestr(entry->from, aor) || strcasestr(entry->to, aor) || strcasestr(entry->start, aor);
}

int sip_gateway_trace(struct sip_gateway *gateway, uint64_t after, const char *aor, size_t max,
		      void (*each)(void *userdata, const struct sip_trace_view *view), void *userdata, uint64_t *ret_after,
		      uint64_t *ret_lost) {
	if (!gateway->trace) {
		struct sip_trace *trace = calloc(1, sizeof(*trace));
		if (!trace)
			return -ENOMEM;
		trace->gateway = gateway;
		timer_init(&trace->timer, on_timer, trace);
		gateway->trace = trace;
		trace->next = gateway->trace_next; /* numbers go on, so that a reader who paused learns of it */
	}
	struct sip_trace *trace = gateway->trace;
	timer_arm_after(gateway->runtime, &trace->timer, SIP_TRACE_SECONDS * USEC_PER_SEC);
	uint64_t oldest = trace->next > SIP_TRACE_MESSAGES ? trace->next - SIP_TRACE_MESSAGES : 0;
	uint64_t number = after > trace->next ? trace->next : after;
	*ret_lost = number < oldest ? oldest - number : 0;
	for (number = number < oldest ? oldest : number; number < trace->next && max > 0; number++) {
		const struct trace_entry *entry = &trace->entries[number % SIP_TRACE_MESSAGES];
		char peer[ADDRESS_TEXT_SIZE];
		if (!concerns(entry, aor))
			continue;
		const struct sip_trace_view view = {
			.time_ms = entry->time_ms,
			.sent = entry->sent,
			.transport = sip_transport_name(entry->transport),
			.peer = address_format(&entry->peer, peer),
			.start = entry->start,
			.from = entry->from,
			.to = entry->to,
			.call_id = entry->call_id,
			.cseq = entry->cseq,
			.octets = entry->octets,
		};
		each(userdata, &view);
		max--;
	}
	*ret_after = number;
	return 0;
}

uint64_t sip_gateway_trace_now(const struct sip_gateway *gateway) {
	return gateway->trace ? gateway->trace->next : gateway->trace_next;
}

/* --- calls --- */

/* One that is placed by us, by its Call-ID; without a proxy once it was answered. */
struct call_record {
	struct sip_gateway *gateway;
	struct sip_proxy *proxy;
	enum sip_call_state state;
	uint64_t since_us;
	struct address via;
	enum sip_transport transport;
	char from[160], to[160];
	struct call_record *previous, *next; /* the one heard of longest ago first */
	UT_hash_handle hh;
	size_t length;
	uint8_t call_id[];
};

static unsigned call_hash(const struct sip_gateway *gateway, struct octets call_id) {
	return (unsigned)keyed_hash(gateway->hash_key, call_id);
}

static struct call_record *record_find(const struct sip_gateway *gateway, struct octets call_id) {
	struct call_record *record = NULL;

	HASH_FIND_BYHASHVALUE(hh, gateway->call_records, call_id.data, call_id.length, call_hash(gateway, call_id), record);
	return record;
}

static void record_free(struct call_record *record) {
	struct sip_gateway *gateway = record->gateway;

	HASH_DELETE(hh, gateway->call_records, record);
	DL_DELETE2(gateway->call_list, record, previous, next);
	if (record->proxy)
		record->proxy->record = NULL;
	free(record);
}

static void record_new(struct sip_proxy *proxy, const struct sip_frame *frame) {
	struct sip_gateway *gateway = proxy->gateway;
	struct octets call_id = frame->field[SIP_FIELD_CALL_ID];
	struct call_record *record = calloc(1, sizeof(*record) + call_id.length);

	if (!record)
		return; /* it is only not in the list */
	if (HASH_CNT(hh, gateway->call_records) >= SIP_CALLS_LISTED)
		record_free(gateway->call_list);
	record->gateway = gateway;
	record->since_us = gateway->runtime->now_us;
	record->length = call_id.length;
	memcpy(record->call_id, call_id.data, call_id.length);
	copy_text(without_parameters(frame->field[SIP_FIELD_FROM]), record->from, sizeof(record->from));
	copy_text(without_parameters(frame->field[SIP_FIELD_TO]), record->to, sizeof(record->to));
	HASH_ADD_KEYPTR_BYHASHVALUE(hh, gateway->call_records, record->call_id, record->length, call_hash(gateway, call_id),
				    record);
	if (!record->hh.tbl) {
		free(record);
		return;
	}
	DL_APPEND2(gateway->call_list, record, previous, next);
	record->proxy = proxy;
	proxy->record = record;
}

void sip_calls_placed(struct sip_proxy *proxy, const struct sip_request *request) {
	struct sip_gateway *gateway = proxy->gateway;
	struct call_record *record = record_find(gateway, request->frame.field[SIP_FIELD_CALL_ID]);

	if (record && request->to_tag && strcmp(request->message->sip_method, "BYE") == 0) {
		record_free(record);
	} else if (record) {
		DL_DELETE2(gateway->call_list, record, previous, next);
		DL_APPEND2(gateway->call_list, record, previous, next);
	} else if (proxy->invite && !request->to_tag) {
		record_new(proxy, &request->frame);
	}
}

void sip_calls_heard(const struct branch *branch, unsigned status) {
	struct call_record *record = branch->proxy->record;

	if (!record || record->state == SIP_CALL_TALKING || status == 100)
		return;
	record->state = status >= 200 ? SIP_CALL_TALKING : SIP_CALL_RINGING;
	record->since_us = record->gateway->runtime->now_us;
	record->via = branch->hop.address;
	record->transport = branch->hop.transport;
}

void sip_calls_released(struct sip_proxy *proxy) {
	struct call_record *record = proxy->record;

	if (!record)
		return;
	record->proxy = NULL;
	proxy->record = NULL;
	if (record->state != SIP_CALL_TALKING)
		record_free(record);
}

void sip_calls_close(struct sip_gateway *gateway) {
	while (gateway->call_list)
		record_free(gateway->call_list);
}

size_t sip_gateway_calls(const struct sip_gateway *gateway, void (*each)(void *userdata, const struct sip_call_view *),
			 void *userdata) {
	static const char *const states[] = {
		[SIP_CALL_PLACING] = "placing", [SIP_CALL_RINGING] = "ringing", [SIP_CALL_TALKING] = "talking"};

	for (const struct call_record *record = gateway->call_list; each && record; record = record->next) {
		char via[ADDRESS_TEXT_SIZE] = "", call_id[96];
		copy_text(OCTETS(record->call_id, record->length), call_id, sizeof(call_id));
		const struct sip_call_view view = {
			.from = record->from,
			.to = record->to,
			.state = states[record->state],
			.since_s = (gateway->runtime->now_us - record->since_us) / USEC_PER_SEC,
			.via = record->state == SIP_CALL_PLACING ? "" : address_format(&record->via, via),
			.transport = record->state == SIP_CALL_PLACING ? "" : sip_transport_name(record->transport),
			.call_id = call_id,
		};
		each(userdata, &view);
	}
	return HASH_CNT(hh, gateway->call_records);
}
