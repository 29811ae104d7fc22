/* SPDX-License-Identifier: MIT */
#include "tuning.h"
#include "context_state.h"
#include "file.h"
#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { SCHEMA = 1, MAX_FILE_BYTES = 1 << 20, HEX_BYTES = 17 };

static rosace_status no_memory(void) { return rsc_fail(ROSACE_OUT_OF_MEMORY, "no host memory for measurements"); }

/* ---- Whose file it is -------------------------------------------------------------------------------------------- */

static void hash_hex(XXH64_hash_t hash, char hex[HEX_BYTES])
{
    snprintf(hex, HEX_BYTES, "%016llx", (unsigned long long)hash);
}

/* Of the kernels' sources, wherever they come from: other kernels have other speeds, and other rows. */
static bool hash_kernels(rosace_context *context, char hex[HEX_BYTES])
{
    XXH3_state_t *state = XXH3_createState();
    if (!state) return false;
    bool good = XXH3_64bits_reset(state) == XXH_OK;
    for (const rsc_source *source = rsc_sources; good && source->path; source++) {
        rsc_text text = {.text = NULL};
        const char *const piece[] = {source->path, NULL};
        const char *bytes = source->text;
        size_t count = source->bytes;
        if (context->kernel_dir) { /* one that is missing there counts as empty */
            const bool there = rsc_expand(context, piece, &text) == ROSACE_OK;
            bytes = there ? text.text : "";
            count = there ? text.bytes : 0;
        }
        good = XXH3_64bits_update(state, source->path, strlen(source->path) + 1) == XXH_OK &&
               XXH3_64bits_update(state, bytes, count) == XXH_OK;
        rsc_free(context, text.text);
    }
    hash_hex(XXH3_64bits_digest(state), hex);
    XXH3_freeState(state);
    return good;
}

/* JSON is UTF-8, and a driver's words may be anything. */
static json_t *plain_text(const char *text)
{
    char plain[256];
    size_t n = 0;
    for (; text[n] && n + 1 < sizeof plain; n++) plain[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
    plain[n] = '\0';
    return json_string(plain);
}

/* The file's "device"; NULL without memory. */
static json_t *make_identity(rosace_context *context)
{
    const rosace_device_info *info = &context->info;
    char kernels[HEX_BYTES];
    if (!hash_kernels(context, kernels)) return NULL;
    char platform[sizeof info->platform_name + sizeof info->platform_version + 2];
    snprintf(platform, sizeof platform, "%s, %s", info->platform_name, info->platform_version);
    return json_pack("{s:o, s:o, s:o, s:o, s:s, s:s}", "name", plain_text(info->name), "vendor", plain_text(info->vendor),
                     "platform", plain_text(platform), "driver", plain_text(info->driver_version), "rosace",
                     rosace_version(), "kernels", kernels);
}

bool rsc_tuning_path(rosace_context *context, char *out, size_t out_bytes)
{
    const rosace_device_info *info = &context->info;
    if (!context->cache_dir || context->tuning_off) return false;
    /* The name is for people; what it cannot tell apart, the hash does. */
    char name[33], hex[HEX_BYTES], all[sizeof info->name + sizeof info->vendor + sizeof info->platform_name + 3];
    size_t n = 0;
    for (const char *c = info->name; *c && n + 1 < sizeof name; c++) {
        const bool keep = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        if (keep || (n && name[n - 1] != '-')) name[n++] = keep ? *c : '-';
    }
    while (n && name[n - 1] == '-') n--;
    name[n] = '\0';
    const int length = snprintf(all, sizeof all, "%s\n%s\n%s", info->name, info->vendor, info->platform_name);
    hash_hex(XXH3_64bits(all, (size_t)length), hex);
    const int used = snprintf(out, out_bytes, "%s/tuning/%s-%s.json", context->cache_dir, n ? name : "device", hex);
    return used > 0 && (size_t)used < out_bytes;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static bool is_name(const char *text, size_t bytes)
{
    if (!text || !*text || strlen(text) >= bytes) return false;
    for (const char *c = text; *c; c++)
        if (*c < ' ' || *c > '~') return false;
    return true;
}

/* Leaves of a file's entries what can be used; returns how many are not. */
static size_t drop_unusable(json_t *entries)
{
    size_t dropped = 0;
    const char *operation, *class_name;
    json_t *classes, *entry;
    void *next, *next_class;
    json_object_foreach_safe(entries, next, operation, classes)
    {
        if (!json_is_object(classes)) {
            dropped++;
            json_object_del(entries, operation);
            continue;
        }
        json_object_foreach_safe(classes, next_class, class_name, entry)
        {
            const char *row = json_string_value(json_object_get(entry, "choice"));
            if (is_name(class_name, RSC_CLASS_BYTES) && is_name(row, RSC_ROW_BYTES)) continue;
            dropped++;
            json_object_del(classes, class_name);
        }
    }
    return dropped;
}

/* What keeps a file from being used, NULL when nothing does. `text` may come to hold it. */
static const char *find_flaw(const json_t *root, const json_t *identity, char *text, size_t text_bytes)
{
    if (json_integer_value(json_object_get(root, "schema")) != SCHEMA) return "it is of another version of the format";
    const json_t *device = json_object_get(root, "device");
    const char *field;
    json_t *ours;
    json_object_foreach((json_t *)(uintptr_t)identity, field, ours)
    {
        const json_t *theirs = json_object_get(device, field);
        if (theirs && json_equal(ours, theirs)) continue;
        snprintf(text, text_bytes, "it was measured with %s \"%.80s\", here it is \"%.80s\"", field,
                 json_is_string(theirs) ? json_string_value(theirs) : "", json_string_value(ours));
        return text;
    }
    return json_is_object(json_object_get(root, "entries")) ? NULL : "it has no entries";
}

static void *alloc_in_context(void *context, size_t bytes) { return rsc_calloc(context, 1, bytes); }

/* The entries in the file, {} when there are none to be used; a new reference, NULL without memory. */
static json_t *read_entries(rosace_context *context)
{
    char path[RSC_PATH_BYTES], text[320];
    if (!rsc_tuning_path(context, path, sizeof path)) return json_object();
    const char *flaw = NULL;
    size_t bytes = 0;
    char *data = rsc_read_private_file(path, MAX_FILE_BYTES, alloc_in_context, context, &bytes, &flaw);
    if (!data && !flaw) return json_object();
    json_t *root = NULL, *identity = NULL, *entries = NULL;
    json_error_t error;
    if (!flaw && !(root = json_loadb(data, bytes, JSON_REJECT_DUPLICATES, &error))) {
        snprintf(text, sizeof text, "it is damaged (%.200s, line %d)", error.text, error.line);
        flaw = text;
    }
    if (!flaw) {
        identity = make_identity(context);
        flaw = identity ? find_flaw(root, identity, text, sizeof text) : "no host memory to compare it";
    }
    if (flaw) {
        rsc_log(context, ROSACE_LOG_INFO, "tuning: %s: %s; ignored until this device is tuned again", path, flaw);
        entries = json_object();
    } else {
        entries = json_incref(json_object_get(root, "entries"));
        const size_t dropped = drop_unusable(entries);
        if (dropped)
            rsc_log(context, ROSACE_LOG_INFO, "tuning: %s: %zu entries without a class or choice; ignored", path, dropped);
    }
    json_decref(identity);
    json_decref(root);
    rsc_free(context, data);
    return entries;
}

/* ---- A context's entries ------------------------------------------------------------------------------------------ */

/* Under the lock; read on the first question. Without memory there are none. */
static json_t *entries_of(rosace_context *context)
{
    if (!context->tuning) context->tuning = read_entries(context);
    return context->tuning;
}

bool rsc_tuned(rosace_context *context, const char *operation, const char *class_name, char row[RSC_ROW_BYTES])
{
    if (context->tuning_off) return false;
    rsc_lock(&context->tuning_lock);
    const json_t *entry = json_object_get(json_object_get(entries_of(context), operation), class_name);
    const char *choice = json_string_value(json_object_get(entry, "choice"));
    if (choice) snprintf(row, RSC_ROW_BYTES, "%s", choice);
    rsc_unlock(&context->tuning_lock);
    return choice != NULL;
}

void rsc_tuning_refuse(rosace_context *context, const char *operation, const char *class_name, const char *reason)
{
    rsc_lock(&context->tuning_lock);
    const bool first = json_object_del(json_object_get(entries_of(context), operation), class_name) == 0;
    rsc_unlock(&context->tuning_lock);
    if (first) rsc_log(context, ROSACE_LOG_INFO, "tuning: %s, %s: %s; ignored", operation, class_name, reason);
}

/* Sets (or, without an entry, removes) one of `entries`; false without memory. */
static bool set_entry(json_t *entries, const char *operation, const char *class_name, json_t *entry)
{
    json_t *classes = json_object_get(entries, operation);
    if (!entry) {
        if (classes && json_object_get(classes, class_name)) json_object_del(classes, class_name);
        return true;
    }
    if (!classes && json_object_set_new(entries, operation, json_object()) != 0) return false;
    return json_object_set(json_object_get(entries, operation), class_name, entry) == 0;
}

rosace_status rsc_tuning_try(rosace_context *context, const char *operation, const char *class_name, const char *row)
{
    json_t *entry = row ? json_pack("{s:s}", "choice", row) : NULL;
    rsc_lock(&context->tuning_lock);
    json_t *entries = entries_of(context);
    const bool good = entries && (entry || !row) && set_entry(entries, operation, class_name, entry);
    rsc_unlock(&context->tuning_lock);
    json_decref(entry);
    return good ? ROSACE_OK : no_memory();
}

json_t *rsc_tuning_entries(rosace_context *context)
{
    if (context->tuning_off) return json_object();
    rsc_lock(&context->tuning_lock);
    json_t *copy = json_deep_copy(entries_of(context));
    rsc_unlock(&context->tuning_lock);
    return copy;
}

void rsc_tuning_reload(rosace_context *context)
{
    rsc_lock(&context->tuning_lock);
    json_decref(context->tuning);
    context->tuning = NULL;
    rsc_unlock(&context->tuning_lock);
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static rosace_status write_file(rosace_context *context, const char *path, const json_t *root)
{
    char temporary[RSC_PATH_BYTES + 64], folder[RSC_PATH_BYTES];
    const char *reason = NULL;
    char *text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    if (!text) return no_memory();
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    snprintf(temporary, sizeof temporary, "%s.%ld.%llx.tmp", path, (long)getpid(), (unsigned long long)(uintptr_t)context);
    const bool good = rsc_private_folder(folder, &reason) &&
                      rsc_replace_file(path, temporary, text, strlen(text), "\n", 1, &reason);
    free(text);
    return good ? ROSACE_OK : rsc_fail(ROSACE_IO_ERROR, "%s: cannot be written: %s", path, reason);
}

rosace_status rsc_tuning_save(rosace_context *context, const char *operation, const char *class_name, json_t *entry)
{
    char path[RSC_PATH_BYTES];
    if (!entry) return no_memory();
    rsc_lock(&context->tuning_lock);
    json_t *ours = entries_of(context);
    rosace_status status = ours && set_entry(ours, operation, class_name, entry) ? ROSACE_OK : no_memory();
    if (!status && !rsc_tuning_path(context, path, sizeof path))
        status = rsc_fail(ROSACE_IO_ERROR, "no cache folder to keep measurements in");
    if (!status) {
        /* Another process may have tuned meanwhile: what it found stays. */
        json_t *there = read_entries(context);
        json_t *root = NULL;
        if (there && set_entry(there, operation, class_name, entry))
            root = json_pack("{s:i, s:o, s:O}", "schema", SCHEMA, "device", make_identity(context), "entries", there);
        status = root ? write_file(context, path, root) : no_memory();
        json_decref(root);
        json_decref(there);
    }
    rsc_unlock(&context->tuning_lock);
    json_decref(entry);
    return status;
}

rosace_status rsc_tuning_clear(rosace_context *context)
{
    char path[RSC_PATH_BYTES];
    rsc_tuning_reload(context);
    if (!rsc_tuning_path(context, path, sizeof path) || remove(path) == 0 || errno == ENOENT) return ROSACE_OK;
    return rsc_fail(ROSACE_IO_ERROR, "%s: cannot be deleted: %s", path, strerror(errno));
}

void rsc_tuning_destroy(rosace_context *context) { json_decref(context->tuning); }
