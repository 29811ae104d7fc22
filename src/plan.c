/* SPDX-License-Identifier: MIT
 * The plans behind the one-call functions. An entry, once listed, stays where it is until the context goes, so that it
 * can be locked after the list is unlocked: making a plan (which builds kernels) keeps nobody from using another. */
#include "context_state.h"

#include <string.h>

struct rsc_plan_entry {
    rsc_plan_entry *next;
    const char *kind;
    void *key;
    size_t key_bytes;
    rsc_mutex lock;
    void *plan; /* NULL: not made yet, or making it failed and the next caller tries again */
    rsc_plan_drop drop;
};

static rsc_plan_entry *find(rosace_context *context, const char *kind, const void *key, size_t key_bytes) {
    for (rsc_plan_entry *entry = context->plans; entry; entry = entry->next)
        if (entry->key_bytes == key_bytes && strcmp(entry->kind, kind) == 0 && memcmp(entry->key, key, key_bytes) == 0)
            return entry;
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
    entry->key_bytes = key_bytes;
    entry->kind = kind;
    entry->drop = drop;
    entry->next = context->plans;
    context->plans = entry;
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
    rsc_unlock(&context->plan_lock);
    if (!entry) return rsc_fail(ROSACE_OUT_OF_MEMORY, "%s: no host memory for a plan", kind);

    rsc_lock(&entry->lock);
    if (!entry->plan) {
        rosace_status status = make(context, desc, &entry->plan);
        if (status) {
            entry->plan = NULL;
            rsc_unlock(&entry->lock);
            return status;
        }
    }
    *out = entry;
    *plan = entry->plan;
    return ROSACE_OK;
}

void rsc_plan_release(rsc_plan_entry *entry) {
    if (entry) rsc_unlock(&entry->lock);
}

void rsc_plans_destroy(rosace_context *context) {
    while (context->plans) {
        rsc_plan_entry *entry = context->plans;
        context->plans = entry->next;
        if (entry->plan) entry->drop(entry->plan);
        rsc_mutex_destroy(&entry->lock);
        rsc_free(context, entry->key);
        rsc_free(context, entry);
    }
}
