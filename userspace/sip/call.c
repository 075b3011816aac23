/* SPDX-License-Identifier: BSD-2-Clause */
#include "sip/internal.h"

#include <stdlib.h>
#include <utlist.h>

struct sip_call *sip_call_new(struct sip_gateway *gateway, void *work, void (*release)(void *work)) {
	struct sip_call *call = malloc(sizeof(*call));

	if (!call)
		return NULL;
	*call = (struct sip_call){.gateway = gateway, .work = work, .release = release};
	DL_APPEND2(gateway->calls, call, previous, next);
	gateway->call_count++;
	return call;
}

static void detach(struct sip_call *call) {
	DL_DELETE2(call->gateway->calls, call, previous, next);
	call->gateway->call_count--;
	call->gateway = NULL;
}

void *sip_call_end(struct sip_call *call) {
	void *work = call->gateway ? call->work : NULL;

	if (call->gateway)
		detach(call);
	free(call);
	return work;
}

void sip_call_orphan(struct sip_call *call) {
	if (call->release)
		call->release(call->work);
	call->work = NULL;
	detach(call);
}
