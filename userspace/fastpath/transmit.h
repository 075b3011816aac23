/* SPDX-License-Identifier: BSD-2-Clause */
/* Does an interface send what XDP redirects to it? */
#pragma once

#include <stdint.h>

/*
 * 1 yes, 0 no: what is redirected would be dropped without a word. Asks the kernel by generic netlink (family "netdev", Linux 6.3
 * and later; the answer is there when the request returns). -EOPNOTSUPP: this kernel cannot tell; others of netlink(7).
 */
int transmit_query(uint32_t ifindex);

/* Messages of that family, for tests: the number of the family in an answer of the controller; the features of a device, -ENODATA.
 */
struct nlmsghdr;
int transmit_read_family(const struct nlmsghdr *header, uint16_t *ret);
int transmit_read_features(const struct nlmsghdr *header, uint64_t *ret);
