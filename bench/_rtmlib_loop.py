"""rtmlib's own loop, as its README shows it; run by an interpreter that has rtmlib. Prints one JSON line."""

import json
import sys
import time

import cv2
from rtmlib import YOLOX, RTMPose, draw_skeleton

clip, output, detector_path, pose_path = sys.argv[1:]
# The same people as ours: scores from 0.3 (its default of 0.7 leaves many out), and of the 80 classes people.
detector = YOLOX(
    detector_path,
    model_input_size=(416, 416),
    det_mode="multiclass",
    score_thr=0.3,
    backend="onnxruntime",
    device="cpu",
)
pose = RTMPose(pose_path, model_input_size=(192, 256), backend="onnxruntime", device="cpu")
capture = cv2.VideoCapture(clip)
size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
writer = cv2.VideoWriter(output, cv2.VideoWriter_fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS), size)
frames = people = 0
start = time.perf_counter()
while True:
    read, image = capture.read()
    if not read:
        break
    boxes, classes = detector(image)
    boxes = boxes[classes == 0]
    keypoints, scores = pose(image, bboxes=boxes)
    writer.write(draw_skeleton(image, keypoints, scores, kpt_thr=0.3))
    frames += 1
    people += len(boxes)
writer.release()
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "frames": frames, "people_per_frame": people / max(frames, 1)}))
