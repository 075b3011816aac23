/* SPDX-License-Identifier: BSD-2-Clause */
/* Putting fragments together at their destination (RFC 6940 6.7, FW-D15). */
#include "base/cleanup.h"
#include "base/limits.h"
#include "forward/fragment.h"
#include "wire/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
	REASSEMBLY_RELIABILITY_TIMERS = 5, /* Q-58, B-3-02 */
	REASSEMBLY_RELIABILITY_TIMER_MS = 3000,
	REASSEMBLY_GROW = 2048, /* the body buffer grows in steps of this many octets */
};

struct range {
	uint32_t start, end;
};

struct reassembly_set {
	struct reassembly *owner;
	struct reassembly_set *prev, *next; /* by age */
	struct timer timer;
	uint64_t transaction_id;
	bool charged; /* counts for `slot` */
	uint16_t slot;
	uint8_t *destinations; /* what every piece's list must be */
	size_t destinations_length;
	uint8_t *header; /* of the piece with offset 0, NULL until it came */
	size_t header_length;
	uint8_t *body;
	size_t body_capacity;
	bool total_known;
	uint32_t total; /* octets of body of the whole */
	size_t held;	/* octets charged to LIMIT_REASSEMBLY_OCTETS */
	size_t range_count;
	struct range ranges[REASSEMBLY_RANGES_MAX]; /* received, ascending, never touching each other */
};

struct reassembly {
	struct runtime *runtime;
	uint64_t lifetime_us;
	size_t max_message_size;
	struct reassembly_set *oldest; /* at most LIMIT_REASSEMBLY_SETS: few enough to walk */
	size_t set_count, held;
	struct reassembly_counters counters;
	void (*dropped)(void *userdata, enum drop_reason reason);
	void *userdata;
};

/* One fragment, taken apart. */
struct piece {
	struct forwarding_header header;
	struct octets header_octets;
	struct octets destinations; /* without what the verdict popped */
	struct octets body;
	uint32_t start, end;
	bool last;
};

int reassembly_new(struct runtime *runtime, struct reassembly **ret) {
	struct reassembly *reassembly = calloc(1, sizeof(*reassembly));

	if (!reassembly)
		return -ENOMEM;
	reassembly->runtime = runtime;
	reassembly_configure(reassembly, REASSEMBLY_RELIABILITY_TIMER_MS, MAX_MESSAGE_SIZE);
	*ret = reassembly;
	return 0;
}

void reassembly_configure(struct reassembly *reassembly, uint32_t reliability_timer_ms, uint32_t max_message_size) {
	reassembly->lifetime_us = REASSEMBLY_RELIABILITY_TIMERS * USEC_PER_MSEC * reliability_timer_ms;
	reassembly->max_message_size = max_message_size;
}

void reassembly_on_drop(struct reassembly *reassembly, void (*dropped)(void *userdata, enum drop_reason reason), void *userdata) {
	reassembly->dropped = dropped;
	reassembly->userdata = userdata;
}

static struct reassembly_set *set_free(struct reassembly_set *set) {
	struct reassembly *reassembly = set->owner;

	timer_disarm(reassembly->runtime, &set->timer);
	DL_DELETE(reassembly->oldest, set);
	reassembly->set_count--;
	reassembly->held -= set->held;
	free(set->destinations);
	free(set->header);
	free(set->body);
	free(set);
	return NULL;
}

struct reassembly *reassembly_free(struct reassembly *reassembly) {
	if (!reassembly)
		return NULL;
	while (reassembly->oldest)
		set_free(reassembly->oldest);
	free(reassembly);
	return NULL;
}

static void reassembly_report(struct reassembly *reassembly, enum drop_reason reason) {
	if (reassembly->dropped)
		reassembly->dropped(reassembly->userdata, reason);
}

static void set_expired(struct timer *timer, void *userdata) {
	struct reassembly_set *set = userdata;
	struct reassembly *reassembly = set->owner;

	(void)timer;
	set_free(set);
	reassembly->counters.expired++;
	reassembly_report(reassembly, DROP_REASSEMBLY_TIMEOUT);
}

/* Makes room for `octets` more, at the expense of the oldest sets other than `keep`. -ENOBUFS when that cannot be. */
static int reassembly_make_room(struct reassembly *reassembly, const struct reassembly_set *keep, size_t octets) {
	size_t others = reassembly->held - (keep ? keep->held : 0);

	if (octets > LIMIT_REASSEMBLY_OCTETS - (reassembly->held - others))
		return -ENOBUFS;
	while (octets > LIMIT_REASSEMBLY_OCTETS - reassembly->held) {
		/* Others hold octets, so there is one. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
		struct reassembly_set *oldest = reassembly->oldest == keep ? keep->next : reassembly->oldest;

		set_free(oldest);
		reassembly->counters.displaced++;
		reassembly_report(reassembly, DROP_REASSEMBLY_LIMIT);
	}
	return 0;
}

static void set_hold(struct reassembly_set *set, size_t octets) {
	set->held += octets;
	set->owner->held += octets;
}

static int octets_copy(struct octets octets, uint8_t **ret) {
	uint8_t *copy = malloc(octets.length ? octets.length : 1);

	if (!copy)
		return -ENOMEM;
	if (octets.length > 0)
		memcpy(copy, octets.data, octets.length);
	*ret = copy;
	return 0;
}

static size_t reassembly_charged(const struct reassembly *reassembly, uint16_t slot) {
	const struct reassembly_set *set;
	size_t charged = 0;

	DL_FOREACH (reassembly->oldest, set)
		charged += set->charged && set->slot == slot;
	return charged;
}

static struct reassembly_set *reassembly_find(const struct reassembly *reassembly, uint64_t transaction_id) {
	struct reassembly_set *set;

	DL_SEARCH_SCALAR(reassembly->oldest, set, transaction_id, transaction_id);
	return set;
}

static int set_new(struct reassembly *reassembly, uint16_t slot, const struct piece *piece, struct reassembly_set **ret) {
	if (reassembly_charged(reassembly, slot) >= LIMIT_REASSEMBLY_PER_LINK)
		return -ENOBUFS;
	if (reassembly->set_count >= LIMIT_REASSEMBLY_SETS) {
		set_free(reassembly->oldest);
		reassembly->counters.displaced++;
		reassembly_report(reassembly, DROP_REASSEMBLY_LIMIT);
	}
	int r = reassembly_make_room(reassembly, NULL, sizeof(struct reassembly_set) + piece->destinations.length);
	if (r < 0)
		return r;
	_cleanup_free_ struct reassembly_set *set = calloc(1, sizeof(*set));
	if (!set)
		return -ENOMEM;
	r = octets_copy(piece->destinations, &set->destinations);
	if (r < 0)
		return r;
	set->owner = reassembly;
	set->destinations_length = piece->destinations.length;
	set->transaction_id = piece->header.transaction_id;
	set->slot = slot;
	set->charged = true;
	set_hold(set, sizeof(*set) + set->destinations_length);
	timer_init(&set->timer, set_expired, set);
	timer_arm_after(reassembly->runtime, &set->timer, reassembly->lifetime_us);
	DL_APPEND(reassembly->oldest, set);
	reassembly->set_count++;
	*ret = TAKE(set);
	return 0;
}

static int piece_read(struct octets octets, size_t popped, struct piece *ret) {
	struct reader r = reader_of_octets(octets);
	struct piece piece;

	if (forwarding_header_read(&r, &piece.header) < 0)
		return -EINVAL;
	piece.header_octets = OCTETS(octets.data, piece.header.header_length);
	piece.body = reader_rest(&r);
	if (reader_finish(&r) < 0 || piece.header.length != octets.length || popped > piece.header.destination_list.length)
		return -EINVAL;
	struct reader list = reader_of_octets(piece.header.destination_list);
	reader_octets(&list, popped);
	piece.destinations = reader_rest(&list);
	piece.start = piece.header.fragment & FRAGMENT_OFFSET;
	piece.last = piece.header.fragment & FRAGMENT_LAST;
	if (!(piece.header.fragment & FRAGMENT_ALWAYS) || (piece.last && piece.start == 0))
		return -EINVAL;
	if (piece.body.length == 0 || piece.body.length > FRAGMENT_OFFSET - piece.start) /* FW-B10 */
		return -EINVAL;
	piece.end = piece.start + (uint32_t)piece.body.length;
	*ret = piece;
	return 0;
}

/* Does the piece agree with what the set holds? 0, -EBADMSG. */
static int set_check(const struct reassembly_set *set, const struct piece *piece) {
	uint32_t highest = set->range_count > 0 ? set->ranges[set->range_count - 1].end : 0;

	/* */
	if (!octets_equal(OCTETS(set->destinations, set->destinations_length), piece->destinations))
		return -EBADMSG;
	if (set->total_known && (piece->end > set->total || (piece->last && piece->end != set->total)))
		return -EBADMSG;
	if (piece->last && piece->end < highest)
		return -EBADMSG;
	for (size_t i = 0; i < set->range_count; i++) {
		uint32_t start = set->ranges[i].start > piece->start ? set->ranges[i].start : piece->start;
		uint32_t end = set->ranges[i].end < piece->end ? set->ranges[i].end : piece->end;

		if (start < end && memcmp(set->body + start, piece->body.data + (start - piece->start), end - start) != 0)
			return -EBADMSG;
	}
	return 0;
}

static bool set_covers(const struct reassembly_set *set, const struct piece *piece) {
	for (size_t i = 0; i < set->range_count; i++)
		if (set->ranges[i].start <= piece->start && piece->end <= set->ranges[i].end)
			return true;
	return false;
}

/* Makes the body buffer hold `end` octets. */
static int set_grow(struct reassembly_set *set, size_t end) {
	if (end <= set->body_capacity)
		return 0;
	size_t capacity = (end + REASSEMBLY_GROW - 1) / REASSEMBLY_GROW * REASSEMBLY_GROW;
	int r = reassembly_make_room(set->owner, set, capacity - set->body_capacity);
	if (r < 0)
		return r;
	uint8_t *body = realloc(set->body, capacity);
	if (!body)
		return -ENOMEM;
	set_hold(set, capacity - set->body_capacity);
	set->body = body;
	set->body_capacity = capacity;
	return 0;
}

static int set_take_header(struct reassembly_set *set, struct octets header) {
	int r = reassembly_make_room(set->owner, set, header.length);

	if (r < 0)
		return r;
	r = octets_copy(header, &set->header);
	if (r < 0)
		return r;
	set->header_length = header.length;
	set_hold(set, header.length);
	return 0;
}

/* Adds [start, end) to the ranges, melting it with those it touches. -ENOBUFS: too many gaps. */
static int set_add_range(struct reassembly_set *set, uint32_t start, uint32_t end) {
	size_t first = 0, after;

	while (first < set->range_count && set->ranges[first].end < start)
		first++;
	for (after = first; after < set->range_count && set->ranges[after].start <= end; after++) {
		start = set->ranges[after].start < start ? set->ranges[after].start : start;
		end = set->ranges[after].end > end ? set->ranges[after].end : end;
	}
	if (after == first && set->range_count == REASSEMBLY_RANGES_MAX)
		return -ENOBUFS;
	memmove(&set->ranges[first + 1], &set->ranges[after], (set->range_count - after) * sizeof(set->ranges[0]));
	set->ranges[first] = (struct range){.start = start, .end = end};
	set->range_count = set->range_count - (after - first) + 1;
	return 0;
}

static int set_store(struct reassembly_set *set, const struct piece *piece) {
	int r = set_grow(set, piece->end);

	if (r < 0)
		return r;
	if (piece->start == 0 && !set->header) {
		r = set_take_header(set, piece->header_octets);
		if (r < 0)
			return r;
	}
	r = set_add_range(set, piece->start, piece->end);
	if (r < 0)
		return r;
	memcpy(set->body + piece->start, piece->body.data, piece->body.length);
	if (piece->last) {
		set->total_known = true;
		set->total = piece->end;
	}
	return 0;
}

static bool set_complete(const struct reassembly_set *set) {
	return set->total_known && set->header && set->range_count == 1 && set->ranges[0].start == 0 &&
	       set->ranges[0].end == set->total;
}

/* The whole message, as if it had never been cut. */
static int set_join(const struct reassembly_set *set, uint8_t **ret, size_t *ret_length) {
	size_t length = set->header_length + set->total;
	uint8_t *message = malloc(length);

	if (!message)
		return -ENOMEM;
	struct writer w = writer_fixed(message, length);
	writer_raw(&w, set->header, 12);
	writer_u32(&w, FRAGMENT_NONE); /* B-6.3.2-09 */
	writer_u32(&w, (uint32_t)length);
	writer_raw(&w, set->header + 20, set->header_length - 20);
	writer_raw(&w, set->body, set->total);
	*ret = message;
	*ret_length = length;
	return 0;
}

static int reassembly_add_piece(struct reassembly *reassembly, uint16_t slot, const struct piece *piece, uint8_t **ret,
				size_t *ret_length) {
	struct reassembly_set *set = reassembly_find(reassembly, piece->header.transaction_id);
	int r;

	if (piece->header.header_length + piece->end > reassembly->max_message_size) { /* */
		if (set)
			set_free(set);
		return -EMSGSIZE;
	}
	if (!set) {
		r = set_new(reassembly, slot, piece, &set);
		if (r < 0)
			return r;
	}
	r = set_check(set, piece);
	if (r < 0) {
		set_free(set);
		return r;
	}
	if (set_covers(set, piece) && (!piece->last || set->total_known)) {
		reassembly->counters.duplicates++;
		return 0;
	}
	r = set_store(set, piece);
	if (r < 0) {
		if (set->range_count == 0) /* begun for this piece alone */
			set_free(set);
		return r;
	}
	if (!set_complete(set))
		return 0;
	/* The header kept may be longer than that of the piece that came last. */
	if (set->header_length + set->total > reassembly->max_message_size) {
		set_free(set);
		return -EMSGSIZE;
	}
	r = set_join(set, ret, ret_length);
	set_free(set);
	return r < 0 ? r : 1;
}

int reassembly_add(struct reassembly *reassembly, uint16_t slot, struct octets octets, size_t popped, uint8_t **ret,
		   size_t *ret_length) {
	struct piece piece;

	reassembly->counters.pieces++;
	int r = piece_read(octets, popped, &piece);
	if (r < 0)
		return r;
	r = reassembly_add_piece(reassembly, slot, &piece, ret, ret_length);
	if (r > 0)
		reassembly->counters.completed++;
	else if (r == -EBADMSG)
		reassembly->counters.conflicts++;
	else if (r == -EMSGSIZE)
		reassembly->counters.too_large++;
	else if (r < 0)
		reassembly->counters.refused++;
	return r;
}

enum drop_reason reassembly_drop_reason(int error) {
	switch (error) {
	case -EBADMSG:
		return DROP_REASSEMBLY_CONFLICT;
	case -EMSGSIZE:
		return DROP_REASSEMBLY_TOO_LARGE;
	case -ENOBUFS:
		return DROP_REASSEMBLY_LIMIT;
	case -ENOMEM:
		return DROP_NO_MEMORY;
	default:
		return DROP_MALFORMED;
	}
}

void reassembly_link_down(struct reassembly *reassembly, uint16_t slot) {
	struct reassembly_set *set;

	DL_FOREACH (reassembly->oldest, set)
		if (set->charged && set->slot == slot)
			set->charged = false;
}

const struct reassembly_counters *reassembly_counters(const struct reassembly *reassembly) {
	return &reassembly->counters;
}

size_t reassembly_sets(const struct reassembly *reassembly) {
	return reassembly->set_count;
}

size_t reassembly_octets(const struct reassembly *reassembly) {
	return reassembly->held;
}
