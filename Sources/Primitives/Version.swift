/// The release, as `outrider version` and the `User-Agent` header say it.
package let outriderVersion = "0.1.0"
