<?php
// A webhook's receiver: the client generated from the description reads what the daemon sent, into typed objects.
//   php receiver.php FOLDER_OF_THE_CLIENT < EVENT

spl_autoload_register(function (string $class) use ($argv): void {
    require $argv[1] . '/lib/' . str_replace(['PcsidWatch\\', '\\'], ['', '/'], $class) . '.php';
});

use PcsidWatch\Model\ActivityEvent;
use PcsidWatch\Model\CheckOutcome;
use PcsidWatch\ObjectSerializer;

$event = ObjectSerializer::deserialize(json_decode(stream_get_contents(STDIN)), ActivityEvent::class);
$failed = array_filter($event->getData()->getChecks(), fn($check) => $check->getOutcome() === CheckOutcome::FAILED);
$rules = array_map(fn($error) => $error->getRule(), array_merge(...array_map(fn($check) => $check->getErrors(), $failed)));
if (!$event->valid() || !$failed || !$rules || !$event->getData()->getCounts()->getTotal()) {
    fwrite(STDERR, json_encode($event) . "\n");
    exit(1);
}
echo "clients: the generated PHP model read {$event->getType()} with " . count($rules) . " errors\n";
