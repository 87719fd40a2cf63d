"""Every bound of the service, in one place: unit in the name, reason beside it.

A limit that a user can reach has a clear error (413, 429, 400); a limit that only a peer can reach
closes the connection. Nothing in the project grows without one of these.
"""

from typing import Final

# --- what one request may carry -------------------------------------------------------------
BODY_BYTES_MAX: Final = 1 << 20  # one HTTP request body; also bounds one log entry
TEXT_BYTES_MAX: Final = 64 << 10  # `text`, UTF-8
VALUE_BYTES_MAX: Final = 256 << 10  # `value` as compact JSON
METADATA_BYTES_MAX: Final = 64 << 10  # `metadata` as compact JSON
TAGS_MAX: Final = 64  # tags of one memory
NAME_BYTES_MAX: Final = 255  # ids, tags, scope ids, actor ids, models, keys: UTF-8
PROVENANCE_ITEMS_MAX: Final = 64  # derived_from, resources
PROVENANCE_TEXT_BYTES_MAX: Final = 4096  # source_ref, reason, each item
EMBEDDING_FLOATS_MAX: Final = 4096  # dimension of one vector
JSON_DEPTH_MAX: Final = 64  # nesting of any JSON that comes in
JSON_INTEGER_MAX: Final = 2**53 - 1  # integers survive every JSON reader (RFC 8785 needs it too)
OPERATIONS_MAX: Final = 1000  # operations of one entry
GUARDS_MAX: Final = 128  # guards of one entry
MERGE_PATHS_MAX: Final = 64  # merge paths of one UPDATE
TTL_MS_MAX: Final = 10 * 366 * 86_400_000  # ten years: a longer life is no TTL

# --- reads ----------------------------------------------------------------------------------
LIST_LIMIT_DEFAULT: Final = 100
LIST_LIMIT_MAX: Final = 1000
LIST_SCAN_ROWS_MAX: Final = 4_000  # rows one page may look at before it answers what it has
PAGE_BYTES_MAX: Final = 16 << 20  # content that one page shows before it ends with a cursor; a search past it is 413
LIST_NOW_ROWS_MAX: Final = 1_000  # rows that one page of locks, tasks or gates looks at: all at one moment, some 8 ms
LIST_NOW_BYTES_MAX: Final = 2 << 20  # and text that it shows
SLICE_ROWS_MAX: Final = 500  # rows that a request looks at before others get the loop: some 3 ms
SLICE_BYTES_MAX: Final = 1 << 20  # content that a request looks at before others get the loop: some 3 ms
DECODE_BYTES_AT_ONCE: Final = 64 << 10  # of a body that is decoded on the loop, not on a thread: some 4 ms at the worst
FILTER_BYTES_AT_ONCE: Final = 256 << 10  # content times conditions that a filter looks at on the loop, not on a thread
FILTER_NODES_MAX: Final = 64  # conditions of one filter expression
FILTER_VALUES_MAX: Final = 1000  # values of one `in` or `nin`
TOP_K_DEFAULT: Final = 10
TOP_K_MAX: Final = 1000
QUERY_BYTES_MAX: Final = 16 << 10  # query string of one request
SEARCHES_IN_FLIGHT_MAX: Final = 256  # vector searches waiting for the pool, then 429

# --- waiting --------------------------------------------------------------------------------
TIMEOUT_MS_DEFAULT: Final = 5_000
TIMEOUT_MS_MAX: Final = 60_000
WAIT_MS_MAX: Final = 60_000
REQUEST_SECONDS_MAX: Final = 30  # from the first byte of a request to its last, then the connection is closed
HEAD_BYTES_MAX: Final = 64 << 10  # request line and headers, beside the piece of the stream that they began in
HEADERS_MAX: Final = 256  # of one request
CHUNK_OVERHEAD_FACTOR: Final = 8  # bytes of chunk frames for a byte of body; the smallest chunks have five
KEEP_ALIVE_SECONDS: Final = 75  # an idle connection between two requests
WRITE_STALL_SECONDS: Final = 10.0  # a client that takes nothing of a reply for so long is hung up on

# --- connections: one client address has at most half of each of these --------------------------
CONNECTIONS_MAX: Final = 20_000  # HTTP connections of one replica; fewer where descriptors are few
CONNECTIONS_MIN: Final = 16  # however few descriptors there are
DESCRIPTORS_RESERVED: Final = 192  # kept from HTTP for the log, the state, snapshots, vectors and the peer port
UNREAD_BYTES_MAX: Final = 64 << 20  # of replies that slow clients have not read; past it the slowest are hung up on
UNREAD_BYTES_HIGH: Final = 32 << 10  # of one connection; past it the client counts as slow
BODY_BYTES_HELD_MAX: Final = 128 << 20  # of request bodies that are arriving or being served; past it 503
BODY_BYTES_UNCOUNTED: Final = 8 << 10  # a body that came whole and is no larger is not counted

# --- proposing ------------------------------------------------------------------------------
PROPOSALS_IN_FLIGHT_MAX: Final = 10_000  # per replica, then 429
ENTRY_BYTES_MAX: Final = 4 << 20  # one encoded log entry: a body with its defaults spelled out

# --- the work of one entry in apply: decides outcomes (docs/format.md); some 50 ms at most --------------
ENTRY_ROWS_MAX: Final = 4_000  # rows looked at or written
ENTRY_HASHED_BYTES_MAX: Final = 1 << 20  # content hashed: text, value, metadata, and a value before it is merged
ENTRY_PINS_MAX: Final = 10_000  # pins looked at, of gates whose memories change

# --- coordination: those of the first group decide outcomes in apply (docs/format.md) --------
WAITERS_MAX: Final = 1000  # in the queue of one lock, then 429
LOCK_TTL_MS_MIN: Final = 100  # a shorter lease is over before its holder hears of it
LOCK_TTL_MS_MAX: Final = 86_400_000  # one day; who needs more renews
PERMITS_MAX: Final = 1000
TASK_ERRORS_KEPT: Final = 100  # newest errors of one task
TASK_GRAPH_MAX: Final = 1000  # tasks looked at to see that a new one closes no cycle
TASK_TELL_MAX: Final = 64  # dependents that one finished task tells in one operation; the leader sees to the rest
TASK_TELLS_PER_ENTRY_MAX: Final = 1024  # dependents that all operations of one entry tell together: some 0.2 s of apply
TASK_KEEP_US: Final = 24 * 3600 * 1_000_000  # how long a finished task can be looked at, in log time
OWNER_RELEASE_MAX: Final = 256  # holds, waits and claims that one entry takes from a dead owner
APPROVERS_MAX: Final = 64  # of one gate, and the approvals that it takes; also the most that it may require
PINS_MAX: Final = 64  # of one gate
GATES_PINNING_MAX: Final = 256  # gates, not consumed, that pin the same version of a memory: a change closes them all
GATE_COMMENT_BYTES_MAX: Final = 4096  # as compact JSON
TASK_DEPENDS_MAX: Final = 64  # depends_on of one task
TASK_CLAIM_MAX: Final = 100  # tasks of one claim
TASK_QUEUES_MAX: Final = 64  # queues of one claim
TASK_ATTEMPTS_MAX: Final = 1000
TASK_BACKOFF_FACTOR_MILLI_MAX: Final = 1_000_000  # thousandfold at each attempt; 1 at least
TASK_DELAY_MS_MAX: Final = 366 * 86_400_000  # a year: later is for a calendar
TASK_PRIORITY_MAX: Final = 1_000_000  # and its negative
TASK_ERROR_BYTES_MAX: Final = 4096  # as compact JSON

TASK_ATTEMPTS_DEFAULT: Final = 25
LOCK_METADATA_BYTES_MAX: Final = 4096  # as compact JSON
RENEWALS_MAX: Final = 1000  # locks of one request that renews many
TXN_OPERATIONS_MAX: Final = 128  # of each arm
RENEW_TICK_MS: Final = 5  # renewals that come within this share one entry, and no two such entries are closer
WAITING_MAX: Final = 10_000  # requests that wait on one replica for a lock, a task or a gate; then 429

# --- watching -------------------------------------------------------------------------------
WATCHERS_MAX: Final = 4096  # streams of one replica, then 429
WATCH_BOOKMARK_SECONDS: Final = 10.0
WATCH_STALL_SECONDS: Final = 10.0  # a reader that takes nothing for so long is told `lagged`
WATCH_PENDING_MAX: Final = 10_000  # entries found for one stream and not yet sent; past it they are looked up again
WATCH_PIECE_BYTES: Final = 64 << 10  # of one stream at a turn of the loop

# --- idempotency ----------------------------------------------------------------------------
IDEMPOTENCY_KEYS_MAX: Final = 1_000_000  # replicated table; full answers 429
IDEMPOTENCY_KEEP_US_MIN: Final = 10 * 60 * 1_000_000  # never forgotten earlier, in log time
IDEMPOTENCY_KEEP_US_MAX: Final = 24 * 3600 * 1_000_000  # kept this long while there is room
IDEMPOTENCY_PURGE_PER_ENTRY: Final = 4  # rows one entry may forget: bounded work in apply

# --- raft and the peer port -----------------------------------------------------------------
ELECTION_TIMEOUT_MS: Final = 700  # of a new group that names none
CLOCK_DRIFT_PPM: Final = 500
FRAME_BYTES_MAX: Final = 8 << 20  # one peer message
APPEND_BYTES_MAX: Final = 1 << 20  # entries of one append (at least one entry is always sent)
APPEND_ENTRIES_MAX: Final = 4096  # entries of one append
APPENDS_IN_FLIGHT_MAX: Final = 8  # unanswered appends with entries, per follower
PEER_BUFFER_BYTES_MAX: Final = 32 << 20  # bytes waiting in one connection before it is dropped
PEER_HANDSHAKES_MAX: Final = 64  # callers of the peer port that are not known yet; more are hung up on
TERM_AHEAD_MAX: Final = 1 << 20  # how far one message of a replica that is no voter here may raise the term
TERM_AHEAD_VOTER_MAX: Final = 1 << 32  # the same for a voter; also for everyone at a replica that knows no voter yet
PEER_STRANGERS_MAX: Final = 16  # connections of replicas of this cluster that the membership here does not name
APPLY_ENTRIES_MAX: Final = 1000  # of one turn of the loop
APPLY_TURN_MS: Final = 5
UNSETTLED_ENTRIES_MAX: Final = 256  # applied and not settled in the state's file: applied again after a kill
UNSETTLED_BYTES_MAX: Final = 4 << 20
EXPIRE_PER_ENTRY_MAX: Final = 256  # memories one expiry entry may end
ADDRESS_BYTES_MAX: Final = 300  # of a member's peer or REST address; host names end at 253
MEMBERS_MAX: Final = 9  # voters and learners together
REMOVED_MAX: Final = 256  # newest ids of removed members that a membership remembers
LEARNER_LAG_MAX: Final = 1000  # entries that a learner may lack when it becomes a voter
SNAPSHOT_CHUNK_BYTES: Final = 1 << 20  # of a snapshot in one message; one is under way per follower
SNAPSHOTS_KEPT: Final = 2  # newest finished snapshots that stay on disk
COMPACT_ENTRIES_MAX: Final = 2000  # entries that one step of a compaction forgets; the next looks anew
SNAPSHOT_WAIT_ENTRIES_MAX: Final = 1_000_000  # entries that are kept for a follower that is being sent a snapshot
CERTIFICATE_HOSTS_MAX: Final = 64  # names beside the id in one certificate that `raftmem certs` makes

# --- storage --------------------------------------------------------------------------------
MAP_BYTES: Final = 1 << 40  # LMDB map reserved once: growing it under a reader kills the reader
DISK_LOW_BYTES: Final = 256 << 20  # no-space below max(this, DISK_LOW_SHARE of the disk)
DISK_LOW_SHARE: Final = 0.02
DISK_HARD_BYTES: Final = 32 << 20  # below this nothing is written at all
LMDB_READERS_MAX: Final = 512  # open snapshots of one environment: searches in flight, offline commands, one spare
LOG_SEGMENT_BYTES: Final = 32 << 20  # of one file of the log: read whole at a start, and removed whole by compaction
LOG_ROOM_BYTES: Final = 1 << 20  # zeros that are written ahead in a segment at once: some hundred commits' worth
LOG_DESCRIPTORS_RESERVED: Final = 4  # open files kept for the log: a new segment, and reads of old ones
LOG_TAIL_BYTES_MAX: Final = 64 << 20  # newest entries kept in memory beside the file
VECTOR_DEAD_SHARE_MAX: Final = 0.25  # a FAISS index with more dead rows is rebuilt off the loop
