/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * More requests than can be served. The measure is how long they wait before they are looked at: datagrams by the time the system
 * has put on them, and everything by how late a timer fires. When even the luckiest request of SIP_OVERLOAD_INTERVAL_MS has waited
 * for longer than SIP_OVERLOAD_TARGET_MS, or the system had to drop datagrams, new calls and registrations are refused with 503
 * until the queue is short again. Calls in progress go on: requests inside a dialog, ACK, CANCEL and answers are always served.
 * A burst that is worked off within the interval is served as a whole.
 */
#include "base/log.h"
#include "sip/internal.h"

#include <string.h>

#define LAG_US (50 * USEC_PER_MSEC)
#define LOG_US (60 * USEC_PER_SEC)
#define ACK_US (32 * USEC_PER_SEC) /* a client repeats its INVITE for that long, and acknowledges each answer */

enum { TAG_OCTETS = 21 /* ";tag=" and 16 digits, as we write them */ };

static void begin(struct sip_gateway *gateway, struct sip_wait *wait) {
	struct sip_overload *overload = &gateway->overload;
	uint64_t now_us = gateway->runtime->now_us;

	if (wait->shedding)
		return;
	wait->shedding = true;
	if (overload->shedding++ > 0)
		return;
	gateway->figures.overloads++;
	if (overload->logged_us == 0 || now_us - overload->logged_us >= LOG_US) {
		log_warning("SIP: more requests come than can be served; new calls and registrations are refused (503) until fewer "
			    "do.");
		overload->logged_us = now_us;
	}
}

static void end(struct sip_gateway *gateway, struct sip_wait *wait) {
	gateway->overload.shedding -= wait->shedding;
	*wait = (struct sip_wait){.noted_us = wait->noted_us};
}

void sip_overload_note(struct sip_gateway *gateway, struct sip_wait *wait, uint64_t waited_us, bool emptied) {
	const uint64_t target_us = SIP_OVERLOAD_TARGET_MS * USEC_PER_MSEC;
	const uint64_t interval_us = SIP_OVERLOAD_INTERVAL_MS * USEC_PER_MSEC;
	uint64_t now_us = gateway->runtime->now_us;

	/* For a whole interval nothing had come when this one did: it waited in no queue, but for a machine that stood still. */
	if (!wait->shedding && now_us - wait->noted_us > waited_us + interval_us)
		wait->above_us = 0;
	wait->noted_us = now_us;
	if (waited_us < target_us) {
		wait->above_us = 0;
		/* Where the system keeps only a few datagrams, none of them can wait for long. */
		if (emptied || (waited_us < target_us / 2 && !wait->lost))
			end(gateway, wait);
	} else if (wait->above_us == 0) {
		wait->above_us = now_us;
	} else if (now_us - wait->above_us >= interval_us) {
		begin(gateway, wait);
	}
}

void sip_overload_lost(struct sip_gateway *gateway, struct sip_wait *wait) {
	wait->lost = true;
	begin(gateway, wait);
}

/* --- how late timers are --- */

static void on_timer(struct timer *timer, void *userdata) {
	struct sip_gateway *gateway = userdata;
	struct sip_wait *lag = &gateway->overload.lag;

	sip_overload_note(gateway, lag, gateway->runtime->now_us - timer->due_us, false);
	if (lag->above_us != 0 || lag->shedding)
		sip_overload_watch(gateway);
}

void sip_overload_open(struct sip_gateway *gateway) {
	timer_init(&gateway->overload.timer, on_timer, gateway);
}

/* Only while requests come. */
void sip_overload_watch(struct sip_gateway *gateway) {
	if (!gateway->overload.timer.armed)
		timer_arm_after(gateway->runtime, &gateway->overload.timer, LAG_US);
}

void sip_overload_close(struct sip_gateway *gateway) {
	timer_disarm(gateway->runtime, &gateway->overload.timer);
}

/* --- what is refused --- */

bool sip_overload_refuses(const struct sip_gateway *gateway, const struct sip_request *request) {
	return gateway->overload.shedding > 0 && sip_request_begins(request);
}

/* In doubt it has one, and is served. */
static bool may_have_tag(struct octets to) {
	const uint8_t *end = to.length > 0 ? memrchr(to.data, '>', to.length) : NULL;
	size_t at = end ? (size_t)(end - to.data) : 0;

	for (; at + 3 <= to.length; at++)
		if ((to.data[at] | 0x20) == 't' && (to.data[at + 1] | 0x20) == 'a' && (to.data[at + 2] | 0x20) == 'g')
			return true;
	return false;
}

static bool is_method(const struct sip_frame *frame, const char *method) {
	return octets_equal(frame->method, octets_of_string(method));
}

static bool begins_something(const struct sip_frame *frame) {
	static const char *const others[] = {"ACK", "CANCEL", "BYE", "PRACK", "UPDATE", "INFO"};

	for (size_t i = 0; i < ARRAY_LENGTH(others); i++)
		if (is_method(frame, others[i]))
			return false;
	return frame->field[SIP_FIELD_FROM].length > 0 && frame->field[SIP_FIELD_CALL_ID].length > 0 &&
	       frame->field[SIP_FIELD_CSEQ].length > 0 && frame->field[SIP_FIELD_TO].length > 0 &&
	       !may_have_tag(frame->field[SIP_FIELD_TO]);
}

/* The ACK of a refusal that nothing was kept of: its tag tells. */
static bool acknowledges_refusal(const struct sip_gateway *gateway, const struct sip_frame *frame) {
	struct octets to = frame->field[SIP_FIELD_TO];
	struct sip_frame asked = *frame;
	uint8_t digits[16];

	if (gateway->runtime->now_us >= gateway->overload.until_us || to.length <= TAG_OCTETS || !is_method(frame, "ACK"))
		return false;
	struct writer w = writer_fixed(digits, sizeof(digits));
	asked.field[SIP_FIELD_TO].length -= TAG_OCTETS;
	writer_hexadecimal(&w, sip_tag(gateway, &asked));
	struct reader r = reader_of_octets(to);
	reader_octets(&r, to.length - TAG_OCTETS);
	return octets_equal(reader_octets(&r, 5), octets_of_string(";tag=")) &&
	       octets_equal(reader_rest(&r), writer_octets_written(&w));
}

bool sip_overload_take(struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow) {
	struct sip_transaction *transaction;

	if (flow->connection != 0 || acknowledges_refusal(gateway, frame))
		return flow->connection == 0;
	if (gateway->overload.shedding == 0 || frame->vias != 1 || !begins_something(frame) ||
	    !sip_transaction_find_plain(gateway, frame, frame->method, &transaction) || transaction ||
	    !gateway->events.allowed(gateway->events.userdata, &flow->remote))
		return false;
	gateway->overload.until_us = gateway->runtime->now_us + ACK_US;
	gateway->figures.shed++;
	sip_refuse_plain(gateway, frame, flow, "Overloaded");
	return true;
}
