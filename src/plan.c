/* SPDX-License-Identifier: MIT
 * The plans behind the one-call functions. An entry that has users stays where it is, so that it can be locked after the
 * list is unlocked: making a plan (which builds kernels) keeps nobody from using another. Descriptors that change all the
 * time (a length in them, say) must not fill the memory, so of the entries without users the longest unused goes when
 * there are too many. Commands that still run keep what they need of a plan that is gone. */
#include "context_state.h"

#include <string.h>

struct rsc_plan_entry {
    rsc_plan_entry *next; /* used before this one */
    rosace_context *context;
    size_t users; /* from acquire to release; under the context's plan_lock */
    const char *kind;
    void *key;
    size_t key_bytes;
    rsc_mutex lock;
    void *plan; /* NULL: not made yet, or making it failed and the next caller tries again */
    rsc_plan_drop drop;
};

static rsc_plan_entry *find(rosace_context *context, const char *kind, const void *key, size_t key_bytes) {
    for (rsc_plan_entry **link = &context->plans; *link; link = &(*link)->next) {
        rsc_plan_entry *entry = *link;
        if (entry->key_bytes != key_bytes || strcmp(entry->kind, kind) != 0 || memcmp(entry->key, key, key_bytes) != 0)
            continue;
        *link = entry->next; /* to the front: the list is in the order of last use */
        entry->next = context->plans;
        context->plans = entry;
        return entry;
    }
    return NULL;
}

static rsc_plan_entry *add(rosace_context *context, const char *kind, const void *key, size_t key_bytes,
                           rsc_plan_drop drop) {
    rsc_plan_entry *entry = rsc_calloc(context, 1, sizeof *entry);
    if (!entry) return NULL;
    entry->key = rsc_calloc(context, 1, key_bytes);
    if (!entry->key || !rsc_mutex_init(&entry->lock)) {
        rsc_free(context, entry->key);
        rsc_free(context, entry);
        return NULL;
    }
    memcpy(entry->key, key, key_bytes);
    entry->context = context;
    entry->key_bytes = key_bytes;
    entry->kind = kind;
    entry->drop = drop;
    entry->next = context->plans;
    context->plans = entry;
    return entry;
}

static void destroy(rsc_plan_entry *entry) {
    if (entry->plan) entry->drop(entry->plan);
    rsc_mutex_destroy(&entry->lock);
    rsc_free(entry->context, entry->key);
    rsc_free(entry->context, entry);
}

/* Takes the longest unused entry off a list that is too long; NULL when there is none to take. */
static rsc_plan_entry *take_surplus(rosace_context *context) {
    size_t count = 0;
    rsc_plan_entry **last = NULL;
    for (rsc_plan_entry **link = &context->plans; *link; link = &(*link)->next) {
        count++;
        if ((*link)->users == 0) last = link;
    }
    if (count <= RSC_MAX_PLANS || !last) return NULL;
    rsc_plan_entry *entry = *last;
    *last = entry->next;
    return entry;
}

rosace_status rsc_plan_acquire(rosace_context *context, const char *kind, const void *key, size_t key_bytes,
                               rsc_plan_make make, rsc_plan_drop drop, const void *desc, rsc_plan_entry **out,
                               void **plan) {
    *out = NULL;
    *plan = NULL;
    rsc_lock(&context->plan_lock);
    rsc_plan_entry *entry = find(context, kind, key, key_bytes);
    if (!entry) entry = add(context, kind, key, key_bytes, drop);
    if (entry) entry->users++;
    rsc_plan_entry *surplus = take_surplus(context);
    rsc_unlock(&context->plan_lock);
    if (surplus) destroy(surplus);
    if (!entry) return rsc_fail(ROSACE_OUT_OF_MEMORY, "%s: no host memory for a plan", kind);

    rsc_lock(&entry->lock);
    if (!entry->plan) {
        rosace_status status = make(context, desc, &entry->plan);
        if (status) {
            entry->plan = NULL;
            rsc_plan_release(entry);
            return status;
        }
    }
    *out = entry;
    *plan = entry->plan;
    return ROSACE_OK;
}

void rsc_plan_release(rsc_plan_entry *entry) {
    if (!entry) return;
    rosace_context *context = entry->context;
    rsc_unlock(&entry->lock);
    rsc_lock(&context->plan_lock);
    entry->users--; /* from here on another thread may destroy it */
    rsc_unlock(&context->plan_lock);
}

void rsc_plans_destroy(rosace_context *context) {
    while (context->plans) {
        rsc_plan_entry *entry = context->plans;
        context->plans = entry->next;
        destroy(entry);
    }
}
