declare module 'fs-native-extensions' {
  /** Locks the open file for this process, released when its last descriptor closes. False when another holds it. */
  export function tryLock(fd: number): boolean;
}
