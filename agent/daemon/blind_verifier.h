// The scheduled verification of a write-only terminal: what can be known of sealed bytes without opening them.
//
// Purpose: every manifest and segment in the store has the bytes that were sent, every pack the SHA-256 of its name.
// The hashes are those in state.db, so that a store that gives back anything else is found. What the bytes hold was
// proven before they were sealed; a restore of them is for who has the recovery key. Errors: what could not be looked
// at, and cancelled; damage is a finding. Threads: one.
#pragma once

#include "agent/daemon/backup_verifier.h"

namespace tillsync {

Result<void> verify_sealed_bytes(const Services& services, const FollowedDatabase& database,
                                 const std::atomic<bool>& stopping, VerificationRecord& record);

}  // namespace tillsync
