/* SPDX-License-Identifier: BSD-2-Clause */
/* Probe, Ping, ConfigUpdate, Join, Leave, Update, RouteQuery. */
#include "wire/method.h"

#include "wire/list.h"

/* A body that is one byte string behind a 16-bit length. */
static int vector16_read(struct octets body, struct octets *ret) {
	struct reader r = reader_of_octets(body);
	struct octets octets = reader_vector16(&r);

	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = octets;
	return 0;
}

/* --- Probe --- */

int probe_req_read(struct octets body, struct probe_req *ret) {
	struct reader r = reader_of_octets(body);
	struct octets requested_info = reader_vector8(&r);

	if (reader_finish(&r) < 0)
		return -EBADMSG;
	ret->requested_info = requested_info;
	return 0;
}

void probe_req_write(struct writer *w, const struct probe_req *probe) {
	writer_vector8(w, probe->requested_info);
}

int probe_ans_read(struct octets body, struct octets *ret_list) {
	struct reader r = reader_of_octets(body);
	struct octets list = reader_vector16(&r);

	if (reader_finish(&r) < 0 || LIST_CHECK(&r, list, struct probe_information, probe_information_next) < 0)
		return -EBADMSG;
	*ret_list = list;
	return 0;
}

int probe_information_next(struct reader *list, struct probe_information *ret) {
	int more = list_more(list);
	if (more <= 0)
		return more;

	struct probe_information information = {.type = reader_u8(list)};
	struct reader value = reader_nested(list, reader_vector8(list));
	switch (information.type) {
	case PROBE_RESPONSIBLE_SET:
	case PROBE_NUM_RESOURCES:
	case PROBE_UPTIME:
		information.value = reader_u32(&value);
		break;
	default: /* "This type may be extended" (RFC 6940 6.4.2.5.2) */
		information.raw = reader_rest(&value);
		break;
	}
	reader_finish_nested(list, &value);
	if (list->error < 0)
		return -EBADMSG;
	*ret = information;
	return 1;
}

void probe_information_write(struct writer *w, uint8_t type, uint32_t value) {
	writer_u8(w, type);
	writer_u8(w, sizeof(value));
	writer_u32(w, value);
}

/* --- Ping --- */

int ping_req_read(struct octets body, struct octets *ret_padding) { /* B-6.5.3-01 */
	return vector16_read(body, ret_padding);
}

void ping_req_write(struct writer *w, struct octets padding) {
	writer_vector16(w, padding);
}

int ping_ans_read(struct octets body, struct ping_ans *ret) {
	struct reader r = reader_of_octets(body);
	struct ping_ans ping = {.response_id = reader_u64(&r)};

	ping.time_ms = reader_u64(&r);
	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = ping;
	return 0;
}

void ping_ans_write(struct writer *w, const struct ping_ans *ping) {
	writer_u64(w, ping->response_id);
	writer_u64(w, ping->time_ms);
}

/* --- ConfigUpdate --- */

int kind_description_next(struct reader *list, struct octets *ret) {
	int more = list_more(list);
	if (more <= 0)
		return more;

	struct octets description = reader_vector16(list);
	if (list->error < 0)
		return -EBADMSG;
	*ret = description;
	return 1;
}

int config_update_read(struct octets body, struct config_update_req *ret) { /* B-6.5.4-05 */
	struct reader r = reader_of_octets(body);
	struct config_update_req update = {.type = reader_u8(&r)};
	struct reader value = reader_nested(&r, reader_vector32(&r));

	switch (update.type) {
	case CONFIG_UPDATE_CONFIG:
		update.config = reader_vector24(&value);
		break;
	case CONFIG_UPDATE_KIND:
		update.kinds = reader_vector24(&value);
		if (LIST_CHECK(&value, update.kinds, struct octets, kind_description_next) < 0)
			reader_fail(&value);
		break;
	default:
		update.raw = reader_rest(&value);
		break;
	}
	reader_finish_nested(&r, &value);
	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = update;
	return 0;
}

void config_update_write_config(struct writer *w, struct octets config) {
	writer_u8(w, CONFIG_UPDATE_CONFIG);
	size_t mark = writer_begin(w, 4);
	writer_vector24(w, config);
	writer_end(w, mark, 4);
}

void config_update_write_kinds(struct writer *w, const struct octets *kinds, size_t count) {
	writer_u8(w, CONFIG_UPDATE_KIND);
	size_t mark = writer_begin(w, 4), list = writer_begin(w, 3);
	for (size_t i = 0; i < count; i++)
		writer_vector16(w, kinds[i]);
	writer_end(w, list, 3);
	writer_end(w, mark, 4);
}

/* --- Join, Leave: a Node-ID and data of the overlay algorithm --- */

static int node_and_data_read(struct octets body, uint8_t node_id_length, struct id *ret_id, struct octets *ret_data) {
	struct reader r = reader_of_body(body, node_id_length);
	struct id id = reader_id(&r);
	struct octets data = reader_vector16(&r);

	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret_id = id;
	*ret_data = data;
	return 0;
}

int join_req_read(struct octets body, uint8_t node_id_length, struct join_req *ret) {
	return node_and_data_read(body, node_id_length, &ret->joining_peer_id, &ret->overlay_specific_data);
}

void join_req_write(struct writer *w, const struct join_req *join) {
	writer_id(w, &join->joining_peer_id);
	writer_vector16(w, join->overlay_specific_data);
}

int join_ans_read(struct octets body, struct octets *ret_overlay_specific_data) {
	return vector16_read(body, ret_overlay_specific_data);
}

void join_ans_write(struct writer *w, struct octets overlay_specific_data) {
	writer_vector16(w, overlay_specific_data);
}

int leave_req_read(struct octets body, uint8_t node_id_length, struct leave_req *ret) {
	return node_and_data_read(body, node_id_length, &ret->leaving_peer_id, &ret->overlay_specific_data);
}

void leave_req_write(struct writer *w, const struct leave_req *leave) {
	writer_id(w, &leave->leaving_peer_id);
	writer_vector16(w, leave->overlay_specific_data);
}

int node_id_next(struct reader *list, struct id *ret) {
	int more = list_more(list);
	if (more <= 0)
		return more;

	struct id id = reader_id(list);
	if (id_is_none(&id)) /* also when the reader's Node-ID length is impossible */
		return reader_fail(list);
	*ret = id;
	return 1;
}

void node_ids_write16(struct writer *w, const struct id *ids, size_t count) {
	size_t mark = writer_begin(w, 2);

	for (size_t i = 0; i < count; i++)
		writer_id(w, &ids[i]);
	writer_end(w, mark, 2);
}

int chord_leave_read(struct octets data, uint8_t node_id_length, struct chord_leave_data *ret) {
	struct reader r = reader_of_body(data, node_id_length);
	struct chord_leave_data leave = {.type = reader_u8(&r)};

	leave.node_ids = reader_node_ids16(&r);
	if (leave.type != CHORD_FROM_SUCC && leave.type != CHORD_FROM_PRED) /* B-6.3.1-05 */
		return -EBADMSG;
	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = leave;
	return 0;
}

void chord_leave_write(struct writer *w, uint8_t type, const struct id *ids, size_t count) {
	if (type != CHORD_FROM_SUCC && type != CHORD_FROM_PRED)
		writer_fail(w, -EINVAL);
	writer_u8(w, type);
	node_ids_write16(w, ids, count);
}

/* --- Update --- */

int chord_update_read(struct octets body, uint8_t node_id_length, struct chord_update *ret) {
	struct reader r = reader_of_body(body, node_id_length);
	struct chord_update update = {.uptime_s = reader_u32(&r)};

	update.type = reader_u8(&r);
	switch (update.type) {
	case CHORD_PEER_READY:
		break;
	case CHORD_NEIGHBORS:
	case CHORD_FULL:
		update.predecessors = reader_node_ids16(&r);
		update.successors = reader_node_ids16(&r);
		if (update.type == CHORD_FULL)
			update.fingers = reader_node_ids16(&r);
		break;
	default: /* B-6.3.1-05 */
		return -EBADMSG;
	}
	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = update;
	return 0;
}

void chord_update_write(struct writer *w, const struct chord_update *update) {
	writer_u32(w, update->uptime_s);
	writer_u8(w, update->type);
	switch (update->type) {
	case CHORD_PEER_READY:
		break;
	case CHORD_NEIGHBORS:
	case CHORD_FULL:
		writer_vector16(w, update->predecessors);
		writer_vector16(w, update->successors);
		if (update->type == CHORD_FULL)
			writer_vector16(w, update->fingers);
		break;
	default:
		writer_fail(w, -EINVAL);
		break;
	}
}

/* --- RouteQuery --- */

int route_query_read(struct octets body, uint8_t node_id_length, struct route_query_req *ret) {
	struct reader r = reader_of_body(body, node_id_length);
	struct route_query_req query = {.send_update = reader_boolean(&r)};

	if (destination_read(&r, &query.destination) < 0)
		return -EBADMSG;
	query.overlay_specific_data = reader_vector16(&r);
	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = query;
	return 0;
}

void route_query_write(struct writer *w, const struct route_query_req *query) {
	if (query->destination.whole.length == 0)
		writer_fail(w, -EINVAL);
	writer_boolean(w, query->send_update);
	writer_octets(w, query->destination.whole);
	writer_vector16(w, query->overlay_specific_data);
}

int chord_route_query_ans_read(struct octets body, uint8_t node_id_length, struct id *ret_next_peer) {
	struct reader r = reader_of_body(body, node_id_length);
	struct id next_peer = reader_id(&r);

	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret_next_peer = next_peer;
	return 0;
}
