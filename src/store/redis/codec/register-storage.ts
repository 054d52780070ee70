/** Where a bucket keeps registers: in the logs of recent toggle updates, and in the segments of those that left the logs. */
export const REGISTER_STORAGES = ['local', 'remote', 'registers'] as const;

export type RegisterStorage = (typeof REGISTER_STORAGES)[number];
