/* exit_code.h: why holdfastd ended, for scripts and supervisors; part of the interface. */
#ifndef SERVER_EXIT_CODE_H
#define SERVER_EXIT_CODE_H

enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_FAILURE = 1,      /* anything not below */
    EXIT_CODE_USAGE = 2,        /* a flag, a variable or the configuration file */
    EXIT_CODE_ADDRESS = 3,      /* an address that cannot be listened on */
    EXIT_CODE_FOREIGN_DATA = 4, /* the data directory belongs to another cluster or member */
    EXIT_CODE_LOCKED_DATA = 5,  /* another process uses the data directory */
    EXIT_CODE_NO_SPACE = 6,     /* the disk is full */
    EXIT_CODE_CORRUPT = 7,      /* what was durable does not verify any more */
    EXIT_CODE_IO = 8,           /* the disk failed */
    EXIT_CODE_BLANK_DISK = 9,   /* a blank disk under the name of a member that had another */
    EXIT_CODE_KERNEL = 10,      /* io_uring, or an operation of it, is missing */
    EXIT_CODE_VERSION = 11,     /* data or log written by a newer version */
    EXIT_CODE_REMOVED = 12,     /* this member was removed from the cluster, for good */
    EXIT_CODE_REPAIR = 13,      /* damaged, and marked so: the next start gets it from the others */
};

#endif
