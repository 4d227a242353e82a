internal import CLibPQ

/// What a server tells beside a result: `raise notice`, warnings.
package struct Notice: Sendable, Hashable {
    /// `NOTICE`, `WARNING`, …, in English whatever the server's language.
    package let severity: String
    package let message: String
    package let hint: String?
}

/// A closure where libpq finds it. Whoever installs it keeps it as long as the handle.
final class NoticeReceiver {
    private let receive: @Sendable (Notice) -> Void

    init(_ receive: @escaping @Sendable (Notice) -> Void) {
        self.receive = receive
    }

    /// Without a receiver notices are dropped; libpq would write them to standard error, which is ours.
    static func install(_ receiver: NoticeReceiver?, on handle: OpaquePointer) {
        PQsetNoticeReceiver(
            handle,
            { pointer, result in
                guard let pointer else { return }
                Unmanaged<NoticeReceiver>.fromOpaque(pointer).takeUnretainedValue().receive(Notice(result))
            }, receiver.map { Unmanaged.passUnretained($0).toOpaque() })
    }
}

extension Notice {
    fileprivate init(_ result: OpaquePointer?) {
        func field(_ code: UInt8) -> String? { PQresultErrorField(result, Int32(code)).map { String(cString: $0) } }
        severity = field(UInt8(ascii: "V")) ?? field(UInt8(ascii: "S")) ?? "NOTICE"
        message = field(UInt8(ascii: "M")) ?? PostgresError.text(PQresultErrorMessage(result))
        hint = field(UInt8(ascii: "H"))
    }
}
