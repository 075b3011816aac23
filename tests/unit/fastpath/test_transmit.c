/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel says about sending redirected frames: of real interfaces in a namespace, and messages cut or odd. */
#include "fastpath/transmit.h"

#include "support/fastpath_bpf.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FAMILY_ID = 1 /* CTRL_ATTR_FAMILY_ID */, FEATURES = 3, PAD = 2 };

static uint8_t buffer[512] __attribute__((aligned(8)));

static struct nlmsghdr *message(void) {
	memset(buffer, 0, sizeof(buffer));
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	mnl_nlmsg_put_extra_header(header, sizeof(struct genlmsghdr));
	return header;
}

static void test_family(void **state) {
	uint16_t family = 7;

	(void)state;
	struct nlmsghdr *header = message();
	mnl_attr_put_strz(header, 2, "netdev");
	assert_int_equal(transmit_read_family(header, &family), -ENODATA);
	mnl_attr_put_u16(header, FAMILY_ID, 33);
	assert_int_equal(transmit_read_family(header, &family), 0);
	assert_int_equal(family, 33);
	header = message();
	mnl_attr_put_u8(header, FAMILY_ID, 33); /* too short */
	family = 7;
	assert_int_equal(transmit_read_family(header, &family), -ENODATA);
	header->nlmsg_len = sizeof(*header); /* not even the generic header */
	assert_int_equal(transmit_read_family(header, &family), -ENODATA);
	assert_int_equal(family, 7);
}

static void test_features(void **state) {
	uint64_t features = 5;

	(void)state;
	struct nlmsghdr *header = message();
	mnl_attr_put_u32(header, 1, 2);
	assert_int_equal(transmit_read_features(header, &features), -ENODATA);
	mnl_attr_put_u32(header, FEATURES, 4);
	assert_int_equal(transmit_read_features(header, &features), -ENODATA);
	assert_int_equal(features, 5);
	header = message();
	mnl_attr_put_u64(header, FEATURES, 0x107);
	assert_int_equal(transmit_read_features(header, &features), 0);
	assert_true(features == 0x107);
	/* An attribute that claims more than there is ends the list. */
	header = message();
	mnl_attr_put_u64(header, FEATURES, 0x107);
	((struct nlattr *)mnl_nlmsg_get_payload_offset(header, sizeof(struct genlmsghdr)))->nla_len = 400;
	features = 5;
	assert_int_equal(transmit_read_features(header, &features), -ENODATA);
	assert_true(features == 5);
}

/* A veth sends what is redirected to it once its other end has GRO. */
static void test_veth(void **state) {
	(void)state;
	FASTPATH_OR_SKIP();
	if (unshare(CLONE_NEWNET) < 0 ||
	    system("ip link add rg0 type veth peer name rg1 && ip link set rg0 up && ip link set rg1 up") != 0)
		fail_msg("no virtual interfaces");
	unsigned ifindex = if_nametoindex("rg0");
	int before = transmit_query(ifindex);
	if (before == -EOPNOTSUPP) {
		print_message("SKIP this kernel does not tell\n");
		skip();
	}
	assert_int_equal(before, 0);
	assert_int_equal(transmit_query(if_nametoindex("lo")), 0);
	assert_int_equal(transmit_query(9999), -ENODEV);
	if (system("python3 tests/net/veth_gro.py rg1") != 0) {
		print_message("SKIP GRO cannot be switched on\n");
		skip();
	}
	assert_int_equal(transmit_query(ifindex), 1);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_family),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_veth),
	};

	return cmocka_run_group_tests_name("fastpath transmit", tests, NULL, NULL);
}
