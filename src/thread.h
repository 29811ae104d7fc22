/* SPDX-License-Identifier: MIT
 * The one lock the library uses. Everything that knows of threads is here. */
#ifndef ROSACE_SRC_THREAD_H
#define ROSACE_SRC_THREAD_H

#include <pthread.h>
#include <stdbool.h>

typedef pthread_mutex_t rsc_mutex;

/* False when the system has no lock left. */
static inline bool rsc_mutex_init(rsc_mutex *mutex) { return pthread_mutex_init(mutex, NULL) == 0; }
static inline void rsc_mutex_destroy(rsc_mutex *mutex) { pthread_mutex_destroy(mutex); }
static inline void rsc_lock(rsc_mutex *mutex) { pthread_mutex_lock(mutex); }
static inline void rsc_unlock(rsc_mutex *mutex) { pthread_mutex_unlock(mutex); }

#endif
