/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whoever owns a popular AoR can have all its calls sent to somebody who wants none of them (RFC 7904 8.2.2). The victim does not
 * answer: so a host that was found in the overlay, and answers nothing, gets a few requests at a time, and then none for a while.
 * Phones that are registered here and gateways are known to be there.
 */
#include "sip/proxy.h"

#include <string.h>

/* By host, whatever the port: that of a victim is not the attacker's choice. */
static struct sip_retarget *target_of(struct sip_gateway *gateway, const struct address *address, uint64_t *ret_tag) {
	*ret_tag = keyed_hash(gateway->tag_key, OCTETS(address->octets, sizeof(address->octets)));
	return &gateway->targets[*ret_tag % SIP_RETARGETS];
}

/* Hosts that share a place share the count of those waiting, which is of no harm while they answer. */
bool sip_retarget_take(struct sip_gateway *gateway, const struct address *address) {
	uint64_t tag;
	struct sip_retarget *target = target_of(gateway, address, &tag);

	if (target->waiting >= SIP_RETARGET_WAITING || (target->tag == tag && gateway->runtime->now_us < target->silent_us)) {
		gateway->figures.retargets_refused++;
		return false;
	}
	target->waiting++;
	return true;
}

void sip_retarget_release(struct sip_gateway *gateway, const struct address *address, bool silent) {
	uint64_t tag;
	struct sip_retarget *target = target_of(gateway, address, &tag);

	target->waiting--;
	if (!silent && target->tag != tag)
		return;
	target->tag = tag;
	target->silent_us = silent ? gateway->runtime->now_us + SIP_RETARGET_SECONDS * USEC_PER_SEC : 0;
}
