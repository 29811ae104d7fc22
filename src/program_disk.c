/* SPDX-License-Identifier: MIT */
#include "program_disk.h"
#include "context_state.h"
#include "file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define ENDING ".rosace"
#define TEMPORARY_ENDING ".tmp"

static const char magic[8] = {'r', 'o', 's', 'a', 'c', 'e', 0x1a, 0};
static const uint32_t format_version = 1, byte_order = 0x01020304;

typedef struct header {
    char magic[8];
    uint32_t version, byte_order;
    unsigned char key[16];
    uint64_t length;
    unsigned char checksum[16];
} header;
_Static_assert(sizeof(header) == 56, "the header is written as it stands, without padding");

/* ---- Folder ---------------------------------------------------------------------------------------------------- */

/* The folder to use, which may be "" (off); false when there is none. */
static bool choose_folder(const char *wanted, char *out, size_t out_bytes) {
    if (!wanted) wanted = getenv("ROSACE_CACHE_DIR");
    if (!wanted) {
        if (!rsc_user_cache_folder(out, out_bytes)) return false;
        const size_t length = strlen(out);
        int more = snprintf(out + length, out_bytes - length, "rosace");
        return more > 0 && (size_t)more < out_bytes - length;
    }
    const size_t length = strlen(wanted);
    if (length >= out_bytes) return false;
    memcpy(out, wanted, length + 1);
    return true;
}

rosace_status rsc_disk_open(rosace_context *context, const char *wanted) {
    char folder[RSC_PATH_BYTES];
    const char *reason = NULL;
    if (!choose_folder(wanted, folder, sizeof folder)) {
        rsc_log(context, ROSACE_LOG_INFO, "no program cache on disk: no folder for it is known, or its path is too long");
        return ROSACE_OK;
    }
    if (!*folder) return ROSACE_OK;
    if (!rsc_private_folder(folder, &reason)) {
        rsc_log(context, ROSACE_LOG_INFO, "no program cache on disk: %s: %s", folder, reason);
        return ROSACE_OK;
    }
    context->cache_dir = rsc_copy_text(context, folder);
    return context->cache_dir ? ROSACE_OK : rsc_fail(ROSACE_OUT_OF_MEMORY, "no host memory for a context");
}

/* ---- Entries --------------------------------------------------------------------------------------------------- */

static bool entry_path(rosace_context *context, const rsc_key *key, char *out, size_t out_bytes) {
    char hex[2 * sizeof key->bytes + 1];
    for (size_t i = 0; i < sizeof key->bytes; i++) snprintf(hex + 2 * i, 3, "%02x", key->bytes[i]);
    int length = snprintf(out, out_bytes, "%s/%s" ENDING, context->cache_dir, hex);
    return length > 0 && (size_t)length < out_bytes;
}

static bool checksum(const header *head, const void *binary, size_t bytes, unsigned char out[16]) {
    XXH3_state_t *state = XXH3_createState();
    if (!state) return false;
    XXH128_canonical_t canonical;
    const bool good = XXH3_128bits_reset(state) == XXH_OK &&
                      XXH3_128bits_update(state, head, offsetof(header, checksum)) == XXH_OK &&
                      XXH3_128bits_update(state, binary, bytes) == XXH_OK;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    XXH3_freeState(state);
    memcpy(out, canonical.digest, sizeof canonical.digest);
    return good;
}

/* What is wrong with an entry of `bytes` bytes, or NULL. */
static const char *find_flaw(const unsigned char *data, size_t bytes, const rsc_key *key) {
    header head;
    if (bytes <= sizeof head) return "it is cut short";
    memcpy(&head, data, sizeof head);
    if (memcmp(head.magic, magic, sizeof magic) != 0) return "it is not a file of this cache";
    if (head.version != format_version || head.byte_order != byte_order) return "another version or machine wrote it";
    if (memcmp(head.key, key->bytes, sizeof head.key) != 0) return "it holds another program";
    if (head.length != bytes - sizeof head) return "its length is wrong";
    unsigned char sum[16];
    if (!checksum(&head, data + sizeof head, bytes - sizeof head, sum)) return "no host memory to check it";
    return memcmp(sum, head.checksum, sizeof sum) == 0 ? NULL : "it is damaged";
}

static void *alloc_in_context(void *context, size_t bytes) { return rsc_calloc(context, 1, bytes); }

void *rsc_disk_load(rosace_context *context, const rsc_key *key, size_t *bytes) {
    char path[RSC_PATH_BYTES];
    if (!context->cache_dir || !entry_path(context, key, path, sizeof path)) return NULL;
    const char *reason = NULL;
    size_t file_bytes = 0;
    unsigned char *data = rsc_read_private_file(path, RSC_DISK_BYTES, alloc_in_context, context, &file_bytes, &reason);
    if (!data && !reason) return NULL;
    if (!reason) reason = find_flaw(data, file_bytes, key);
    if (reason) {
        rsc_log(context, ROSACE_LOG_INFO, "program cache: %s: %s; the program is built again", path, reason);
        rsc_free(context, data);
        return NULL;
    }
    *bytes = file_bytes - sizeof(header);
    memmove(data, data + sizeof(header), *bytes);
    return data;
}

void rsc_disk_save(rosace_context *context, const rsc_key *key, const void *binary, size_t bytes) {
    char path[RSC_PATH_BYTES], temporary[RSC_PATH_BYTES + 64];
    if (!context->cache_dir || bytes == 0 || bytes > RSC_DISK_BYTES / 4 || !entry_path(context, key, path, sizeof path))
        return;
    header head = {.version = format_version, .byte_order = byte_order, .length = bytes};
    memcpy(head.magic, magic, sizeof magic);
    memcpy(head.key, key->bytes, sizeof head.key);
    if (!checksum(&head, binary, bytes, head.checksum)) return;

    /* One name per process and context, whose programs are saved one at a time. */
    snprintf(temporary, sizeof temporary, "%s.%ld.%llx" TEMPORARY_ENDING, path, (long)getpid(),
             (unsigned long long)(uintptr_t)context);
    const char *reason = NULL;
    if (!rsc_replace_file(path, temporary, &head, sizeof head, binary, bytes, &reason)) {
        rsc_log(context, ROSACE_LOG_INFO, "program cache: %s is not written: %s", path, reason);
        return;
    }
    rsc_log(context, ROSACE_LOG_DEBUG, "program cache: %s saved, %zu bytes", path, bytes);
    size_t gone = rsc_trim_folder(context->cache_dir, ENDING, TEMPORARY_ENDING, RSC_DISK_BYTES);
    if (gone) rsc_log(context, ROSACE_LOG_DEBUG, "program cache: %zu old entries deleted", gone);
}
