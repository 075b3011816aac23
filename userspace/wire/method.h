/* SPDX-License-Identifier: BSD-2-Clause */
/* Bodies of the topology, connection and maintenance methods (RFC 6940 6.4, 6.5, 10). */
#pragma once

#include "wire/message.h"

/* --- Probe (6.4.2.5) --- */
struct probe_req {
	struct octets requested_info;     /* one octet per item, enum probe_information_type */
};
struct probe_information {
	uint8_t type;
	uint32_t value;                   /* types 1 to 3 */
	struct octets raw;                /* unknown types */
};
int probe_req_read(struct octets body, struct probe_req *ret);
void probe_req_write(struct writer *w, const struct probe_req *probe);
int probe_ans_read(struct octets body, struct octets *ret_list);
int probe_information_next(struct reader *list, struct probe_information *ret);
/* Between writer_begin(w, 2) and writer_end(w, mark, 2). */
void probe_information_write(struct writer *w, uint8_t type, uint32_t value);

/* --- Attach, AppAttach (6.5.1, 6.5.2) --- */
struct ice_candidate {
	struct address address;
	uint8_t overlay_link;             /* enum overlay_link_type */
	struct octets foundation;
	uint32_t priority;
	uint8_t type;                     /* enum candidate_type */
	struct address related;           /* srflx and relay only */
	struct octets extensions;
};
struct attach_req_ans {
	struct octets ufrag, password, role;
	uint16_t application;             /* AppAttach only */
	struct octets candidates;         /* list of IceCandidate */
	bool send_update;                 /* Attach only */
};
int attach_read(struct octets body, struct attach_req_ans *ret);
int app_attach_read(struct octets body, struct attach_req_ans *ret);
int ice_candidate_next(struct reader *list, struct ice_candidate *ret);
struct ice_extension {
	struct octets name, value;
};
int ice_extension_next(struct reader *list, struct ice_extension *ret);
void ice_candidate_write(struct writer *w, const struct ice_candidate *candidate);
/* `attach->candidates` is the encoded list without its length prefix. */
void attach_write(struct writer *w, const struct attach_req_ans *attach);
void app_attach_write(struct writer *w, const struct attach_req_ans *attach);

/* --- Ping (6.5.3) --- */
struct ping_ans {
	uint64_t response_id, time_ms;
};
int ping_req_read(struct octets body, struct octets *ret_padding);
void ping_req_write(struct writer *w, struct octets padding);
int ping_ans_read(struct octets body, struct ping_ans *ret);
void ping_ans_write(struct writer *w, const struct ping_ans *ping);

/* --- ConfigUpdate (6.5.4) --- */
struct config_update_req {
	uint8_t type;                     /* enum config_update_type; unknown types carry `raw` */
	struct octets config;             /* type config */
	struct octets kinds;              /* type kind: list of KindDescription, walk with kind_description_next() */
	struct octets raw;
};
int config_update_read(struct octets body, struct config_update_req *ret);
int kind_description_next(struct reader *list, struct octets *ret);
void config_update_write_config(struct writer *w, struct octets config);
void config_update_write_kinds(struct writer *w, const struct octets *kinds, size_t count);

/* --- Join, Leave (6.4.2.1, 6.4.2.2, 10.5, 10.9) --- */
struct join_req {
	struct id joining_peer_id;
	struct octets overlay_specific_data;
};
int join_req_read(struct octets body, uint8_t node_id_length, struct join_req *ret);
void join_req_write(struct writer *w, const struct join_req *join);
int join_ans_read(struct octets body, struct octets *ret_overlay_specific_data);
void join_ans_write(struct writer *w, struct octets overlay_specific_data);

struct leave_req {
	struct id leaving_peer_id;
	struct octets overlay_specific_data;
};
int leave_req_read(struct octets body, uint8_t node_id_length, struct leave_req *ret);
void leave_req_write(struct writer *w, const struct leave_req *leave);

/* A list of Node-IDs without its prefix; walk with node_id_next() on a reader whose node_id_length is set. */
int node_id_next(struct reader *list, struct id *ret);
void node_ids_write16(struct writer *w, const struct id *ids, size_t count);

struct chord_leave_data {
	uint8_t type;                     /* enum chord_leave_type */
	struct octets node_ids;
};
int chord_leave_read(struct octets data, uint8_t node_id_length, struct chord_leave_data *ret);
void chord_leave_write(struct writer *w, uint8_t type, const struct id *ids, size_t count);

/* --- Update (6.4.2.3, 10.7) --- */
struct chord_update {
	uint32_t uptime_s;
	uint8_t type;                     /* enum chord_update_type */
	struct octets predecessors, successors, fingers;
};
int chord_update_read(struct octets body, uint8_t node_id_length, struct chord_update *ret);
/* Views hold the encoded Node-IDs without prefix. */
void chord_update_write(struct writer *w, const struct chord_update *update);

/* --- RouteQuery (6.4.2.4, 10.8) --- */
struct route_query_req {
	bool send_update;
	struct destination destination;
	struct octets overlay_specific_data;
};
int route_query_read(struct octets body, uint8_t node_id_length, struct route_query_req *ret);
/* `destination->whole` is copied. */
void route_query_write(struct writer *w, const struct route_query_req *query);
int chord_route_query_ans_read(struct octets body, uint8_t node_id_length, struct id *ret_next_peer);
