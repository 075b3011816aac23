/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registrar (RFC 3261 10.3). A REGISTER becomes a job; the jobs of one AoR run one after the other. A job asks the node to
 * store each change in the overlay, and changes the table of bindings only when all are stored; otherwise it takes back what was.
 */
#include "sip/register.h"
#include "base/log.h"
#include "sip/sibling.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

struct register_job *register_job_free(struct register_job *job) {
	if (!job)
		return NULL;
	if (job->transaction)
		job->transaction->owner = NULL;
	if (job->registration) {
		DL_DELETE2(job->registration->jobs, job, previous, next);
		job->registration->job_count--;
		job->registration->gateway->reserved_bindings -= job->reserved;
	}
	for (size_t i = 0; i < job->wish_count; i++)
		binding_free(job->wishes[i]);
	for (size_t i = 0; i < job->step_count; i++) {
		binding_free(job->steps[i].binding);
		free(job->steps[i].former);
	}
	free(job->steps);
	free(job->call_id);
	free(job->path);
	free(job);
	return NULL;
}

/* --- answers --- */

/* Put together once a second. */
static void write_date(struct sip_gateway *gateway, struct writer *w) {
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t seconds = (time_t)(runtime_realtime_ms(gateway->runtime) / 1000);
	struct tm tm;

	if (seconds != gateway->date_of && gmtime_r(&seconds, &tm)) {
		snprintf(gateway->date, sizeof(gateway->date), "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n", days[tm.tm_wday],
			 tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
		gateway->date_of = seconds;
	}
	writer_string(w, gateway->date);
}

static void write_more(const struct register_job *job, const struct binding *binding, struct writer *w) {
	const struct binding_more *more = binding->more;

	if (!more || !more->instance)
		return;
	writer_format(w, ";+sip.instance=\"<%s>\"", more->instance); /* RFC 5627 5.2 */
	if (more->reg_id != 0)
		writer_format(w, ";reg-id=%u", more->reg_id);
	if (job->supported & SIP_EXTENSION_GRUU && more->device)
		sip_gruu_write(job->registration->gateway, more->device, uri_is_secure(binding->uri), w);
}

static void write_extensions(const struct register_job *job, struct writer *w) {
	if (job->path && job->supported & SIP_EXTENSION_PATH) {
		writer_octets(w, octets_of_string("Path: "));
		writer_octets(w, octets_of_string(job->path));
		writer_octets(w, octets_of_string("\r\n"));
	}
	if (!job->flow || !(job->supported & SIP_EXTENSION_OUTBOUND))
		return;
	writer_octets(w, octets_of_string("Require: outbound\r\n"));
	if (job->direct && job->transaction && job->transaction->flow.transport != SIP_UDP)
		writer_format(w, "Flow-Timer: %d\r\n", SIP_FLOW_TIMER_SECONDS);
}

static void answer_bindings(struct register_job *job) {
	uint8_t text[LIMIT_SIP_MESSAGE];
	struct writer w = writer_fixed(text, sizeof(text));

	if (!job->transaction)
		return;
	for (const struct binding *binding = job->registration->bindings; binding; binding = binding->next) {
		if (binding->more && binding->more->lost)
			continue;
		writer_literal(&w, "Contact: <");
		writer_string(&w, binding->contact);
		writer_literal(&w, ">;expires=");
		writer_decimal(&w, binding_seconds_left(binding));
		if (binding->q >= 0) {
			writer_literal(&w, ";q=");
			writer_thousandths(&w, (unsigned)binding->q);
		}
		write_more(job, binding, &w);
		writer_literal(&w, "\r\n");
	}
	write_extensions(job, &w);
	write_date(job->registration->gateway, &w);
	sip_transaction_respond(job->transaction, 200, "OK", writer_octets_written(&w));
}

static void answer_failure(struct register_job *job, unsigned status, const char *reason) {
	if (!job->transaction)
		return;
	switch (status) {
	case 400:
	case 403:
	case 404:
		sip_transaction_respond(job->transaction, status, reason, OCTETS_NONE);
		return;
	case 503:
		sip_respond_unavailable(job->transaction, reason, 0);
		return;
	default:
		sip_transaction_respond(job->transaction, 500, reason, OCTETS_NONE);
	}
}

/* --- what is to change --- */

static bool out_of_order(const struct register_job *job, const struct binding *binding) {
	return strcmp(binding->call_id, job->call_id) == 0 && job->cseq <= binding->cseq;
}

static int add_step(struct register_job *job, struct binding *binding, unsigned expires_s, const struct binding *former) {
	struct step *step = &job->steps[job->step_count];

	if (former) {
		step->former = strdup(binding_name(former));
		if (!step->former)
			return -ENOMEM;
		step->former_expires_us = former->expires_us;
	}
	step->binding = binding;
	step->expires_s = expires_s;
	job->step_count++;
	return 0;
}

static int plan_removal(struct register_job *job, const struct binding *former, bool only_overlay) {
	_cleanup_(binding_freep) struct binding *name = binding_like(former);

	if (!name || add_step(job, name, 0, former) < 0)
		return -ENOMEM;
	TAKE(name);
	job->steps[job->step_count - 1].only_overlay = only_overlay;
	return 0;
}

static bool respelled(const struct binding *wish, const struct binding *former) {
	return former && strcmp(binding_name(former), binding_name(wish)) != 0;
}

/* A removal of what we do not know is stored, too: it may be in the overlay from before a restart. */
static int plan_wish_removal(struct register_job *job, size_t index) {
	struct binding *wish = job->wishes[index], *former = registration_same(job->registration, wish);

	if (wish->expires_s > 0)
		return respelled(wish, former) ? plan_removal(job, former, true) : 0;
	if (former)
		return plan_removal(job, former, false);
	if (add_step(job, wish, 0, NULL) < 0)
		return -ENOMEM;
	job->wishes[index] = NULL;
	return 0;
}

/*
 * What the device is called in its temporary GRUUs. With another Call-ID than that of its former registration all that it has been
 * given are invalid, so it gets another number (RFC 5627 5.1).
 */
static uint64_t device_number(const struct registration *registration, const struct binding *wish) {
	const struct sip_device *device = sip_device_find(registration, wish->more->instance);
	const struct binding *latest = NULL;

	for (const struct binding *binding = registration->bindings; device && binding; binding = binding->next)
		if (binding->more && binding->more->device == device &&
		    (wish->more->reg_id == 0 || binding->more->reg_id == wish->more->reg_id))
			latest = binding;
	if (!device || device->number == 0 || (latest && strcmp(latest->call_id, wish->call_id) != 0))
		return sip_device_number(registration->gateway, device);
	return device->number;
}

static int plan_wish_addition(struct register_job *job, size_t index, size_t *added) {
	struct binding *wish = job->wishes[index], *former = wish ? registration_same(job->registration, wish) : NULL;

	if (!wish || wish->expires_s == 0)
		return 0;
	if (wish->more && wish->more->instance)
		wish->more->number = device_number(job->registration, wish);
	if (add_step(job, wish, wish->expires_s, respelled(wish, former) ? NULL : former) < 0)
		return -ENOMEM;
	job->wishes[index] = NULL;
	if (!former)
		++*added;
	return 0;
}

/* Returns 0 or the status to refuse with. */
static unsigned plan(struct register_job *job, const char **ret_reason) {
	struct registration *registration = job->registration;
	struct sip_gateway *gateway = registration->gateway;
	size_t removed = 0, added = 0;

	*ret_reason = "CSeq Not Above the Last One";
	for (size_t i = 0; i < job->wish_count; i++) {
		const struct binding *former = registration_same(registration, job->wishes[i]);
		if (job->forget && !(former && former->more && former->more->lost)) /* it came back */
			job->wish_count = 0;
		if (job->wish_count == 0)
			break;
		if (former && out_of_order(job, former))
			return 400;
		removed += former && job->wishes[i]->expires_s == 0;
	}
	if (job->everything)
		for (const struct binding *former = registration->bindings; former; former = former->next)
			if (out_of_order(job, former))
				return 400;
	*ret_reason = "Out of Memory";
	/* A removal and an addition for each wish at most. */
	size_t most = 2 * job->wish_count + (job->everything ? registration->binding_count : 0);
	job->steps = most > 0 ? calloc(most, sizeof(*job->steps)) : NULL;
	if (most > 0 && !job->steps)
		return 500;
	if (job->everything)
		for (const struct binding *former = registration->bindings; former; former = former->next)
			if (plan_removal(job, former, false) < 0)
				return 500;
	/* Removals come first, also of a former spelling of an equal URI, so that what they occupy is free for what is added. */
	for (size_t i = 0; i < job->wish_count; i++)
		if (plan_wish_removal(job, i) < 0)
			return 500;
	for (size_t i = 0; i < job->wish_count; i++)
		if (plan_wish_addition(job, i, &added) < 0)
			return 500;
	*ret_reason = "Too Many Contacts";
	if (registration->binding_count - removed + added > SIP_CONTACTS_PER_AOR)
		return 403;
	*ret_reason = "Too Many Registrations";
	if (gateway->figures.bindings + gateway->reserved_bindings + added > LIMIT_SIP_BINDINGS)
		return 503;
	job->reserved = added;
	gateway->reserved_bindings += added;
	return 0;
}

/* --- running --- */

static void bind_done(void *userdata, unsigned status, const char *reason);

/* `binding` says more about what is bound; its time, when that is to be removed. */
static bool ask(struct register_job *job, const char *name, unsigned expires_s, const struct binding *binding) {
	struct sip_gateway *gateway = job->registration->gateway;
	struct sip_call *call = binding ? sip_call_new(gateway, job, NULL) : NULL;

	if (!call)
		return false;
	const struct binding_more *more = binding->more;
	struct sip_binding_request request = {
		.aor = job->registration->aor, .contact = binding->contact, .name = name, .expires_s = expires_s, .q = -1};
	if (expires_s > 0) {
		request.call_id = binding->call_id;
		request.cseq = binding->cseq;
		request.q = binding->q;
		request.source = binding->source;
		request.local = binding->flow.local;
		request.transport = binding->flow.transport;
		request.path = more ? more->path : NULL;
		request.instance = more ? more->instance : NULL;
		request.reg_id = more ? more->reg_id : 0;
		request.device = more ? more->number : 0;
		request.repeats = binding->repeats;
		request.kept = binding->kept;
	}
	gateway->events.bind(gateway->events.userdata, &request, bind_done, call);
	return true;
}

/* Restores what the overlay held before a step. False when there is nothing to do, or no memory to do it. */
static bool ask_undo(struct register_job *job, const struct step *step) {
	uint64_t now_us = job->registration->gateway->runtime->now_us;

	const struct binding *former = registration_same(job->registration, step->binding);
	if (step->former && step->former_expires_us > now_us && former)
		return ask(job, step->former, (unsigned)((step->former_expires_us - now_us + USEC_PER_SEC - 1) / USEC_PER_SEC),
			   former);
	return step->expires_s > 0 && ask(job, binding_name(step->binding), 0, step->binding);
}

/* The phone was promised what it was: only what the overlay has is another. */
static void commit_refresh(struct register_job *job) {
	struct binding *binding = job->steps ? registration_same(job->registration, job->steps[0].binding) : NULL;

	if (binding)
		binding_stored(binding, job->steps[0].expires_s);
}

static void commit(struct register_job *job) {
	if (job->refresh) {
		commit_refresh(job);
		return;
	}
	for (size_t i = 0; job->steps && i < job->step_count; i++) {
		struct step *step = &job->steps[i];
		if (step->expires_s > 0)
			registration_commit(job->registration, TAKE(step->binding));
		else if (!step->only_overlay)
			binding_free(registration_same(job->registration, step->binding));
	}
}

static void fail(struct register_job *job, unsigned status, const char *reason) {
	answer_failure(job, status, reason);
	job->undo = true;
}

/* One step, of which nothing is to be taken back. */
static unsigned plan_refresh(struct register_job *job) {
	const struct binding *binding = registration_same(job->registration, job->wishes[0]);

	job->steps = binding ? calloc(1, sizeof(*job->steps)) : NULL;
	if (!job->steps)
		return 500;
	job->steps[job->step_count++] = (struct step){.binding = TAKE(job->wishes[0]), .expires_s = binding_seconds_left(binding)};
	return 0;
}

/* Does what can be done now. True when the job is finished, false when it waits for the node. */
static bool advance(struct register_job *job) {
	const char *reason = "Out of Memory";

	if (!job->started) {
		job->started = true;
		if (!job->transaction && !job->forget && !job->refresh)
			return true; /* has waited for too long behind others */
		unsigned status = job->refresh ? plan_refresh(job) : plan(job, &reason);
		if (status != 0) {
			answer_failure(job, status, reason);
			return true;
		}
	}
	while (job->steps && !job->undo && job->step < job->step_count) {
		const struct step *step = &job->steps[job->step];
		if (ask(job, binding_name(step->binding), step->expires_s, step->binding))
			return false;
		fail(job, 500, "Out of Memory");
	}
	if (!job->undo) {
		commit(job);
		answer_bindings(job);
		return true;
	}
	while (job->steps && job->step > 0) {
		job->step--;
		if (ask_undo(job, &job->steps[job->step]))
			return false;
	}
	return true;
}

static void run(struct registration *registration) {
	while (registration->jobs && advance(registration->jobs))
		register_job_free(registration->jobs);
	registration_release(registration);
}

static void bind_done(void *userdata, unsigned status, const char *reason) {
	struct register_job *job = sip_call_end(userdata);

	if (!job)
		return;
	struct registration *registration = job->registration;
	if (job->refresh && status != 200) {
		register_job_free(job); /* the binding has its timer for another try */
		run(registration);
		return;
	}
	if (job->undo) {
		if (status != 200)
			log_warning("registration of %s: the overlay may hold a Contact that was refused until it expires: %s",
				    job->registration->aor, reason ? reason : "no reason given");
	} else if (status != 200) {
		fail(job, status, reason ? reason : "Not Stored");
	} else {
		job->step++;
		if (!job->transaction && !job->forget && !job->refresh)
			job->undo = true; /* the phone was told that it failed */
	}
	run(registration);
}

/* --- from the request --- */

/*
 * RFC 3261 10.3 step 1: the domain whose registrar is asked, under any of its names; `realm` is the one that its users have.
 * Returns 0 or the status to refuse with.
 */
static unsigned check_domain(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
			     char realm[static SIP_AOR_OCTETS + 1], const char **ret_reason) {
	const osip_message_t *message = request->message;
	char domain[SIP_AOR_OCTETS + 1], of_to[SIP_AOR_OCTETS + 1], asked[SIP_AOR_OCTETS + 1];

	*ret_reason = "Domain Not Served";
	if (uri_domain(message->req_uri, domain) < 0 || uri_domain(message->to->url, of_to) < 0 ||
	    !gateway_realm(gateway, message->to->url, realm))
		return 404;
	if (strcmp(domain, of_to) == 0 || gateway_owns_address(gateway, message->req_uri, flow))
		return 0;
	return gateway_realm(gateway, message->req_uri, asked) && strcmp(asked, realm) == 0 ? 0 : 404;
}

/*
 * Step 4: whoever showed a password, `user`, may register that user's phones, and those of others only where the site says so.
 * Without passwords From tells who asks.
 */
bool register_authorized(const struct sip_gateway *gateway, const char *user, const char *from, const char *aor) {
	const struct sip_gateway_events *events = &gateway->events;

	if (!user)
		return strcmp(from, aor) == 0;
	if (strcmp(from, user) != 0 && strcmp(from, aor) != 0)
		return false;
	return strcmp(user, aor) == 0 || (events->registrar && events->registrar(events->userdata, user, aor));
}

/* Steps 4 and 5. `user` is NULL without passwords. Returns 0 or the status to refuse with. */
static unsigned check_user(struct sip_gateway *gateway, const struct sip_request *request, const char *user,
			   char aor[static SIP_AOR_OCTETS + 1], char from[static SIP_AOR_OCTETS + 1], const char **ret_reason) {
	const osip_message_t *message = request->message;

	*ret_reason = "Not Found";
	if (gateway_aor(gateway, message->to->url, aor) < 0)
		return 404;
	*ret_reason = "Third-Party Registration Not Allowed";
	if (gateway_aor(gateway, message->from->url, from) < 0 || !register_authorized(gateway, user, from, aor))
		return 403;
	*ret_reason = "Not Found";
	if (!gateway->events.user(gateway->events.userdata, aor))
		return 404;
	*ret_reason = "Call-ID Too Long";
	return request->frame.field[SIP_FIELD_CALL_ID].length > SIP_CALL_ID_OCTETS ? 400 : 0;
}

struct register_job *register_job_new(struct registration *registration, struct octets call_id, uint32_t cseq) {
	struct register_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->call_id = strndup((const char *)call_id.data, call_id.length);
	if (!job->call_id)
		return register_job_free(job);
	job->cseq = cseq;
	job->registration = registration;
	DL_APPEND2(registration->jobs, job, previous, next);
	registration->job_count++;
	return job;
}

static void refuse(const struct sip_gateway *gateway, struct sip_transaction *transaction, unsigned status, const char *reason) {
	char field[64] = "";

	if (status == 503) {
		sip_respond_unavailable(transaction, reason, 0);
		return;
	}
	if (status == 423)
		snprintf(field, sizeof(field), "Min-Expires: %u\r\n", gateway->expires_min_s);
	if (status == 420)
		snprintf(field, sizeof(field), "Unsupported: path\r\n");
	sip_transaction_respond(transaction, status, reason, octets_of_string(field));
}

/* When it cannot be done now, or comes to nothing, it is tried again. */
void sip_register_refresh(struct binding *binding) {
	struct registration *registration = binding->registration;
	struct sip_gateway *gateway = registration->gateway;
	uint64_t again_us = gateway->runtime->now_us + SIP_STORE_RETRY_SECONDS * USEC_PER_SEC;

	timer_arm(gateway->runtime, &binding->timer, again_us < binding->expires_us ? again_us : binding->expires_us);
	if (registration->jobs || gateway->call_count >= LIMIT_SIP_TRANSACTIONS)
		return;
	struct register_job *job = register_job_new(registration, octets_of_string(binding->call_id), binding->cseq);
	if (!job || !(job->wishes[0] = binding_again(binding))) {
		register_job_free(job);
		return;
	}
	job->wishes[0]->cseq = binding->cseq;
	job->wish_count = 1;
	job->refresh = true;
	run(registration);
}

/* Without room for it the overlay forgets by itself, when the time of the binding is over. */
void sip_register_forget(struct binding *binding) {
	struct registration *registration = binding->registration;
	struct register_job *job = registration->job_count < SIP_REGISTERS_PER_AOR ? calloc(1, sizeof(*job)) : NULL;

	if (job) {
		job->call_id = strdup("");
		job->wishes[0] = binding_like(binding);
		job->wish_count = job->wishes[0] ? 1 : 0;
		job->forget = true;
	}
	if (!job || !job->call_id || job->wish_count == 0) {
		register_job_free(job);
		binding_free(binding);
		registration_release(registration);
		return;
	}
	job->registration = registration;
	DL_APPEND2(registration->jobs, job, previous, next);
	registration->job_count++;
	if (registration->jobs == job)
		run(registration);
}

void register_job_begin(struct register_job *job, struct sip_transaction *transaction) {
	sip_transaction_own(transaction, &job->transaction);
	if (job->registration->jobs == job)
		run(job->registration);
}

void sip_register(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request) {
	char aor[SIP_AOR_OCTETS + 1], realm[SIP_AOR_OCTETS + 1], user[SIP_AOR_OCTETS + 1], from[SIP_AOR_OCTETS + 1];
	const char *reason = NULL;

	unsigned status = check_domain(gateway, request, &transaction->flow, realm, &reason);
	/* Step 3: before anything is told about who exists here. */
	if (status == 0 && gateway->auth.on && !sip_authenticate(gateway, transaction, request, realm, false, user))
		return;
	if (status == 0)
		status = check_user(gateway, request, gateway->auth.on ? user : NULL, aor, from, &reason);
	if (status != 0) {
		refuse(gateway, transaction, status, reason);
		return;
	}
	struct registration *registration = registration_get(gateway, aor);
	if (!registration) {
		refuse(gateway, transaction, 500, "Out of Memory");
		return;
	}
	struct register_job *job = registration->job_count < SIP_REGISTERS_PER_AOR
					   ? register_job_new(registration, request->frame.field[SIP_FIELD_CALL_ID], request->cseq)
					   : NULL;
	if (!job) {
		refuse(gateway, transaction, 503, "Too Many Registrations at Once");
		registration_release(registration);
		return;
	}
	job->direct = osip_list_size(&request->message->vias) == 1;
	job->passed = sip_sibling_at(gateway, &transaction->flow.remote);
	status = register_extensions_read(job, request, &reason);
	if (status == 0)
		status = register_contacts_read(job, request, &transaction->flow, &reason);
	if (status != 0) {
		refuse(gateway, transaction, status, reason);
		register_job_free(job);
		registration_release(registration);
		return;
	}
	register_again_note(job, request, &transaction->flow, realm, from);
	register_job_begin(job, transaction);
}
