/* status.h - status codes, error text, version, allocator and log hooks of spn-native.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every function of the library that can fail returns an `spn_status` and takes, as its last
 * parameter, an `spn_error *err` that may be NULL. On failure the function fills `*err` with the
 * same status and one English sentence: what failed, on what, why and, where it helps, what to do.
 * On success `*err` is left as it was. Other outputs are untouched on failure.
 *
 * The library never exits, aborts, prints, reads environment variables or installs signal
 * handlers.
 */
#ifndef SPN_STATUS_H
#define SPN_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(SPN_SHARED)
#ifdef SPN_BUILD
#define SPN_API __declspec(dllexport)
#else
#define SPN_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define SPN_API __attribute__((visibility("default")))
#else
#define SPN_API
#endif

#if defined(__MINGW32__) /* "printf" means the old Microsoft library there, without %zu */
#define SPN_PRINTF(fmt, args) __attribute__((format(gnu_printf, fmt, args)))
#elif defined(__GNUC__)
#define SPN_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define SPN_PRINTF(fmt, args)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this header; spn_version() gives that of the library in use. Before 1.0 any minor
 * version may break the interface. */
#define SPN_VERSION_MAJOR 0
#define SPN_VERSION_MINOR 1
#define SPN_VERSION_PATCH 0

/* The library's version as "MAJOR.MINOR.PATCH". Static storage; any thread. */
SPN_API const char *spn_version(void);

/* The one list of statuses: X(NAME, name, message, flags).
 * Values are pinned by their position: new ones go at the end, retired ones stay. */
#define SPN_STATUS_RETRYABLE 1u     /* the same call may succeed later, unchanged */
#define SPN_STATUS_AUTHORIZATION 2u /* credentials or permissions are missing or wrong */

#define SPN_STATUS_LIST(X)                                                                    \
    X(OK, "ok", "success", 0u)                                                                \
    X(INVALID_ARGUMENT, "invalid-argument", "an argument is invalid", 0u)                     \
    X(NO_MEMORY, "no-memory", "memory could not be allocated", 0u)                            \
    X(HTTP, "http", "the HTTP request failed", SPN_STATUS_RETRYABLE)                          \
    X(IO, "io", "a file operation failed", 0u)                                                \
    X(MODEL_NOT_FOUND, "model-not-found", "the model was not found", 0u)                      \
    X(CHECKSUM_MISMATCH, "checksum-mismatch", "the data does not have its checksum",          \
      SPN_STATUS_RETRYABLE)                                                                   \
    X(INVALID_CONFIG, "invalid-config", "the configuration is invalid", 0u)                   \
    X(INTERRUPTED, "interrupted", "the operation was interrupted", SPN_STATUS_RETRYABLE)      \
    X(STORAGE_DIR, "storage-dir", "the storage directory cannot be used", 0u)                 \
    X(JSON, "json", "the JSON is not valid", 0u)                                              \
    X(FORMAT, "format", "the data is damaged or not in the expected format", 0u)              \
    X(MODEL_NOT_LOADED, "model-not-loaded", "no model is loaded", 0u)                         \
    X(INFERENCE_FAILED, "inference-failed", "the model could not be evaluated", 0u)           \
    X(UNSUPPORTED_ARCHITECTURE, "unsupported-architecture",                                   \
      "the model's architecture is not supported", 0u)                                        \
    X(DEVICE, "device", "the device cannot be used", 0u)                                      \
    X(TOKENIZER, "tokenizer", "the tokenizer failed", 0u)                                     \
    X(TEMPLATE, "template", "the chat template failed", 0u)                                   \
    X(CONTEXT_FULL, "context-full", "the text does not fit the context", 0u)                  \
    X(NOT_RUNNING, "not-running", "the service is not running", SPN_STATUS_RETRYABLE)         \
    X(ALREADY_LOADED, "already-loaded", "a model is already loaded", 0u)                      \
    X(INSUFFICIENT_MEMORY, "insufficient-memory", "the machine has not enough memory", 0u)    \
    X(NETWORK, "network", "the network failed", SPN_STATUS_RETRYABLE)                         \
    X(PROCESS, "process", "a process failed", 0u)                                             \
    X(MISSING_API_KEY, "missing-api-key", "an API key is missing", SPN_STATUS_AUTHORIZATION)  \
    X(API, "api", "the service answered with an error", 0u)                                   \
    X(LOAD, "load", "the model could not be loaded", 0u)                                      \
    X(CANCELLED, "cancelled", "the operation was cancelled", 0u)                              \
    X(UNAUTHORIZED, "unauthorized", "access was refused", SPN_STATUS_AUTHORIZATION)           \
    X(GATED, "gated", "the model's licence must be accepted first", SPN_STATUS_AUTHORIZATION) \
    X(RATE_LIMITED, "rate-limited", "too many requests", SPN_STATUS_RETRYABLE)                \
    X(DISK_FULL, "disk-full", "the disk has not enough room", 0u)                             \
    X(OFFLINE, "offline", "the network may not be used", 0u)                                  \
    X(BUSY, "busy", "something else is using it", SPN_STATUS_RETRYABLE)                       \
    X(TIMEOUT, "timeout", "the time ran out", SPN_STATUS_RETRYABLE)

#define SPN_STATUS_ENUM_ROW(NAME, name, message, flags) SPN_STATUS_##NAME,
typedef enum spn_status { SPN_STATUS_LIST(SPN_STATUS_ENUM_ROW) SPN_STATUS_COUNT } spn_status;
#undef SPN_STATUS_ENUM_ROW

/* The status's short name ("checksum-mismatch") and its general sentence, without a full stop.
 * Both are static text, never NULL: a number that is no status gives "unknown". Any thread. */
SPN_API const char *spn_status_name(spn_status status);
SPN_API const char *spn_status_message(spn_status status);

/* Whether the same call may succeed when it is made again later, unchanged. */
SPN_API bool spn_status_is_retryable(spn_status status);

/* Whether the failure is about credentials, permissions or a licence to be accepted. */
SPN_API bool spn_status_is_authorization(spn_status status);

/* Details of a failure, written by the failing call into the caller's own memory: there is no
 * global error state. */
typedef struct spn_error {
    spn_status status;
    int code;       /* HTTP status or errno where the failure has one, else 0 */
    size_t item;    /* of a call with several texts: which one failed, from 1; else 0 */
    char text[512]; /* UTF-8, NUL-terminated, no line break at the end; longer texts are cut */
} spn_error;

/* The allocator behind every allocation of the library itself (the libraries it uses keep their
 * own). Each function has the meaning of its namesake in <stdlib.h> and must be callable from any
 * thread. Blocks are aligned for any C type. */
typedef struct spn_allocator {
    void *(*malloc)(size_t n_bytes, void *user);
    void *(*realloc)(void *block, size_t n_bytes, void *user);
    void (*free)(void *block, void *user);
    void *user;
} spn_allocator;

/* Replaces the allocator; NULL restores the C library's. Call it before any other function of the
 * library, or while none of its objects exists: a block is freed by the allocator in force then.
 * Returns SPN_STATUS_INVALID_ARGUMENT when a function pointer is missing. Not thread-safe. */
SPN_API spn_status spn_set_allocator(const spn_allocator *allocator);

/* Frees memory that a function of the library handed over ("free with spn_free"). NULL is fine. */
SPN_API void spn_free(void *block);

typedef enum spn_log_level {
    SPN_LOG_LEVEL_DEBUG,
    SPN_LOG_LEVEL_INFO,
    SPN_LOG_LEVEL_WARNING,
} spn_log_level;

/* Receives what the library has to say beside its results, one line a call, without a line break.
 * It may be called on any thread, also on several at once, and must not call the library. */
typedef void (*spn_log_fn)(spn_log_level level, const char *line, void *user);

/* Sets the log callback; NULL (the state at start) is silence. Set it before other threads use the
 * library. */
SPN_API void spn_set_log(spn_log_fn log, void *user);

#ifdef __cplusplus
}
#endif
#endif
