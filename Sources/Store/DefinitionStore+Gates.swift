import Postgres
import Primitives
import WorkflowFiles

extension DefinitionStore {
    /// Gives a topic the limits that its file says; one without any has no gate.
    func setGate(of topic: TopicDefinition) throws {
        try connection.query(
            """
            select outrider.set_gate(\(topic.name), \(topic.maxBacklog.map(Int32.init)), \(topic.overflow.rawValue),
                \(topic.blockFor), \(topic.publishRate?.text), \(topic.publishRate?.perSecond))
            """)
    }

    func openGate(ofTopic name: String) throws {
        try connection.query("select outrider.set_gate(\(name), null, 'reject', '0', null, null)")
    }
}
