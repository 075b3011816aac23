/* SPDX-License-Identifier: BSD-2-Clause */
#include "fastpath/transmit.h"

#include "base/cleanup.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <string.h>
#include <sys/socket.h>

/* Of <linux/netdev.h>, which Debian 12 does not have yet. */
enum {
	TRANSMIT_DEV_GET = 1,
	TRANSMIT_DEV_IFINDEX = 1,
	TRANSMIT_DEV_FEATURES = 3,
	TRANSMIT_ACT_NDO_XMIT = 1 << 2,
	TRANSMIT_VERSION = 1,
	TRANSMIT_BUFFER = 8192,
};

static struct mnl_socket *socket_close(struct mnl_socket *socket) {
	if (socket)
		mnl_socket_close(socket);
	return NULL;
}
DEFINE_CLEANUP(struct mnl_socket *, socket_close)

static const struct nlattr *find(const struct nlmsghdr *header, uint16_t type) {
	const struct nlattr *attribute;

	if (header->nlmsg_len < MNL_NLMSG_HDRLEN + MNL_ALIGN(sizeof(struct genlmsghdr)))
		return NULL;
	mnl_attr_for_each(attribute, header, sizeof(struct genlmsghdr)) if (mnl_attr_get_type(attribute) == type) return attribute;
	return NULL;
}

int transmit_read_family(const struct nlmsghdr *header, uint16_t *ret) {
	const struct nlattr *id = find(header, CTRL_ATTR_FAMILY_ID);

	if (!id || mnl_attr_validate(id, MNL_TYPE_U16) < 0)
		return -ENODATA;
	*ret = mnl_attr_get_u16(id);
	return 0;
}

int transmit_read_features(const struct nlmsghdr *header, uint64_t *ret) {
	const struct nlattr *features = find(header, TRANSMIT_DEV_FEATURES);

	if (!features || mnl_attr_get_payload_len(features) != sizeof(*ret))
		return -ENODATA;
	memcpy(ret, mnl_attr_get_payload(features), sizeof(*ret)); /* 4-octet alignment */
	return 0;
}

static struct nlmsghdr *begin(void *buffer, uint16_t type, uint8_t command, uint8_t version, uint32_t sequence) {
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct genlmsghdr *generic = mnl_nlmsg_put_extra_header(header, sizeof(*generic));

	header->nlmsg_type = type;
	header->nlmsg_flags = NLM_F_REQUEST;
	header->nlmsg_seq = sequence;
	*generic = (struct genlmsghdr){.cmd = command, .version = version};
	return header;
}

/* Sends the request in `buffer` and leaves the answer there. The kernel answers before it returns from sending: nothing is waited
 * for. */
static int ask(struct mnl_socket *socket, const struct nlmsghdr *request, uint8_t *buffer) {
	uint32_t sequence = request->nlmsg_seq;

	if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		return -errno;
	ssize_t length = recv(mnl_socket_get_fd(socket), buffer, TRANSMIT_BUFFER, MSG_DONTWAIT);
	if (length < 0)
		return -errno;
	const struct nlmsghdr *answer = (const void *)buffer;
	if ((size_t)length < MNL_NLMSG_HDRLEN || !mnl_nlmsg_ok(answer, (int)length) || answer->nlmsg_seq != sequence)
		return -EBADMSG;
	if (answer->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *error = mnl_nlmsg_get_payload(answer);
		if (mnl_nlmsg_get_payload_len(answer) < sizeof(*error) || error->error >= 0)
			return -EBADMSG;
		return error->error;
	}
	return 0;
}

int transmit_query(uint32_t ifindex) {
	uint8_t buffer[TRANSMIT_BUFFER] __attribute__((aligned(8)));
	_cleanup_(socket_closep) struct mnl_socket *socket = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
	uint64_t features = 0;
	uint16_t family = 0;

	if (!socket)
		return -errno;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	struct nlmsghdr *request = begin(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1, 1);
	mnl_attr_put_strz(request, CTRL_ATTR_FAMILY_NAME, "netdev");
	int error = ask(socket, request, buffer);
	if (error == 0)
		error = transmit_read_family((const void *)buffer, &family);
	if (error < 0)
		return error == -ENOENT ? -EOPNOTSUPP : error;
	request = begin(buffer, family, TRANSMIT_DEV_GET, TRANSMIT_VERSION, 2);
	mnl_attr_put_u32(request, TRANSMIT_DEV_IFINDEX, ifindex);
	error = ask(socket, request, buffer);
	if (error == 0)
		error = transmit_read_features((const void *)buffer, &features);
	if (error < 0)
		return error;
	return features & TRANSMIT_ACT_NDO_XMIT ? 1 : 0;
}
