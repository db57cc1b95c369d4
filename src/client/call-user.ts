/** What the program's own callback throws is an unhandled error of the program, and stops nothing here. */
export function callUser(callback: () => void): void {
  try {
    callback()
  } catch (thrown) {
    void Promise.reject(thrown)
  }
}
