/** A header of the response to a `PUT`: `e` and `v` of the updates from which on counts include the operation, such as `eu.3.k9 1042`. */
export const VERSION_HEADER = 'Tallycast-Version';
