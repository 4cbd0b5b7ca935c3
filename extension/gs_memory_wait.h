/*-------------------------------------------------------------------------
 *
 * gs_memory_wait.h
 *	  Waiting until the archiver has freed memory.
 *
 * For a call that is about to create or to end a game, before it has locked
 * anything.  It returns at once when there is memory enough, or when waiting
 * would not help; then it depends on what is left whether the call fails.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_MEMORY_WAIT_H
#define GS_MEMORY_WAIT_H

#include "gs_config.h"
#include "gs_shmem.h"

extern void gs_wait_for_memory(Size size, Size state);
extern void gs_wait_for_reserve(void);

/* Before a game is created that takes so much, its state included. */
static inline void
gs_wait_to_create(Size size, Size state)
{
	if (unlikely(GsShmem->nreserve < GsShmem->reserve_target || gs_quota >= 0 ||
				 pg_atomic_read_u64(&GsShmem->used_bytes) > GsShmem->area_size / 2))
		gs_wait_for_memory(size, state);
}

/* Before a game is ended, which may use the reserve. */
static inline void
gs_wait_to_end(void)
{
	if (unlikely(GsShmem->nreserve * 2 < GsShmem->reserve_target))
		gs_wait_for_reserve();
}

#endif /* GS_MEMORY_WAIT_H */
